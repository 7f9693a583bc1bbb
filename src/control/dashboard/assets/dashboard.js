// The dashboard's own script: what HTML and htmx do not do by themselves. Pages are made by the
// server; this keeps them current, sends writes as JSON, and remembers theme and token.
"use strict";

(() => {
    const $ = (selector, root = document) => root.querySelector(selector);
    const root = document.documentElement;

    // ---- Token: kept in this tab, and sent as a header, never as a cookie.
    const TOKEN = "meridian-token";
    const token = () => { try { return sessionStorage.getItem(TOKEN); } catch { return null; } };
    const authorized = (headers = {}) => {
        const own = token();
        return own ? { ...headers, Authorization: `Bearer ${own}` } : headers;
    };
    document.addEventListener("htmx:config:request", (event) => {
        Object.assign(event.detail.ctx.request.headers, authorized());
    });

    // What is refused before it comes to a page is no page: a problem document.
    document.addEventListener("htmx:before:response", (event) => {
        const { response } = event.detail.ctx;
        if (response.headers.get("Content-Type")?.startsWith("text/html")) return;
        event.preventDefault();
        say("lost", response.status === 401 ? "token refused" : `refused: ${response.status}`);
    });

    const showToken = () => {
        const button = $("#token-button");
        if (button) button.textContent = token() ? "Token ✓" : "Token";
    };
    const dialog = () => $("#token-dialog");
    document.addEventListener("click", (event) => {
        if (event.target.closest("#token-button, [data-token]")) dialog().showModal();
    });
    document.addEventListener("close", (event) => {
        if (event.target.id !== "token-dialog") return;
        const field = $("#token-field");
        try {
            if (event.target.returnValue === "use" && field.value.trim()) sessionStorage.setItem(TOKEN, field.value.trim());
            if (event.target.returnValue === "forget") sessionStorage.removeItem(TOKEN);
        } catch { /* the tab forgets it at once */ }
        field.value = "";
        showToken();
        refresh();
        listen();
    }, true);

    // With a token, links and forms of this page must carry it: the browser's own requests cannot.
    document.addEventListener("click", (event) => {
        if (!token() || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
        const link = event.target.closest("a[href]");
        if (!link || link.origin !== location.origin || link.hasAttribute("download")) return;
        event.preventDefault();
        visit(link.href);
    });

    // ---- Pages: the part between head and foot is replaced, and the address follows.
    const swap = { target: "#page", select: "#page", swap: "outerMorph" };
    const load = (address) => htmx.ajax("GET", address, swap);
    const visit = async (address, replace = false) => {
        await load(address);
        history[replace ? "replaceState" : "pushState"](null, "", address);
        const path = location.pathname;
        for (const link of document.querySelectorAll(".top nav a")) {
            const own = link.getAttribute("href");
            const is = own === "/" ? path === "/" : path.startsWith(own);
            if (is) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
        }
    };
    addEventListener("popstate", () => load(location.href));

    // A filter applies while it is typed; without this script its button does.
    let typing;
    const filter = (event, wait) => {
        const form = event.target.closest("form[data-filter]");
        if (!form) return;
        clearTimeout(typing);
        typing = setTimeout(() => visit(addressOf(form), true), wait);
    };
    const addressOf = (form) => {
        const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
        const text = query.toString();
        return form.getAttribute("action") + (text ? `?${text}` : "");
    };
    document.addEventListener("input", (event) => filter(event, event.target.type === "search" ? 200 : 0));
    document.addEventListener("submit", (event) => {
        const form = event.target;
        if (form.method !== "get" || !(token() || form.matches("[data-filter]"))) return;
        event.preventDefault();
        visit(addressOf(form));
    });

    // ---- Live: the page is made anew after each change, and at times without one.
    const APART = 250, IDLE = 10000;
    let last = 0, planned = null, running = false, again = false;
    const isLive = () => $("#page")?.hasAttribute("data-live");
    async function refresh() {
        planned = null;
        // Whoever fills in a form is not disturbed, except by the page that belongs to it.
        if (document.hidden || dialog()?.open) return;
        if (running) { again = true; return; }
        running = true;
        last = Date.now();
        try { await load(location.href); } finally { running = false; }
        if (again) { again = false; soon(); }
    }
    function soon() {
        if (!isLive() || planned) return;
        planned = setTimeout(refresh, Math.max(0, last + APART - Date.now()));
    }
    setInterval(() => { if (isLive() && Date.now() - last >= IDLE) refresh(); }, 1000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });

    const say = (state, text) => {
        const live = $("#live");
        if (live && (live.dataset.state !== state || live.textContent !== text)) {
            live.dataset.state = state;
            live.textContent = text;
        }
    };

    // ---- Events: fetch instead of EventSource, which can send no token.
    let stream = null, lastId = null;
    async function listen() {
        stream?.abort();
        const own = stream = new AbortController();
        for (let wait = 500; !own.signal.aborted; wait = Math.min(wait * 2, 10000)) {
            try {
                const headers = authorized({ Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) });
                const response = await fetch("/v1/events", { headers, signal: own.signal, cache: "no-store" });
                if (response.status === 401 || response.status === 403) { say("lost", "token needed"); return; }
                if (!response.ok) throw new Error(response.status);
                wait = 500;
                say("live", "live");
                soon();
                await read(response.body);
            } catch { /* said below, and tried again */ }
            if (own.signal.aborted) return;
            say("lost", "connection lost");
            await new Promise((resolve) => setTimeout(resolve, wait));
        }
    }
    async function read(body) {
        const reader = body.pipeThrough(new TextDecoderStream()).getReader();
        for (let rest = ""; ;) {
            const { done, value } = await reader.read();
            if (done) return;
            const parts = (rest + value).split("\n\n");
            rest = parts.pop();
            let news = false;
            for (const part of parts) {
                const id = part.match(/^id: ?(.*)$/m);
                if (id) lastId = id[1];
                news ||= /^data:/m.test(part);
            }
            if (news) {
                soon();
                // The state that a page is made of may follow its event by a moment.
                setTimeout(soon, 400);
            }
        }
    }

    // ---- Theme: that of the system, dark, light.
    const THEME = "meridian-theme", THEMES = ["system", "dark", "light"];
    const showTheme = () => {
        const button = $("#theme-button");
        const now = root.dataset.theme ?? "system";
        button.textContent = { system: "◐ System", dark: "● Dark", light: "○ Light" }[now];
        button.setAttribute("aria-label", `Colour theme: ${now}`);
    };
    document.addEventListener("click", (event) => {
        if (!event.target.closest("#theme-button")) return;
        const now = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
        if (now === "system") delete root.dataset.theme; else root.dataset.theme = now;
        try { localStorage.setItem(THEME, now); } catch { /* this page only */ }
        showTheme();
    });

    // ---- Writes: JSON to the API, which no page of another site can send.
    document.addEventListener("click", async (event) => {
        const button = event.target.closest("[data-write]");
        if (!button || button.disabled) return;
        const { write: method, path, body } = button.dataset;
        const place = button.closest("#preflight") ?? button.parentElement;
        const tell = (text, kind) => {
            const note = document.createElement("p");
            note.className = `note ${kind}`;
            note.setAttribute("role", "status");
            note.textContent = text;
            place.replaceChildren(note);
        };
        button.disabled = true;
        const headers = { "Content-Type": "application/json", "Idempotency-Key": key() };
        try {
            const response = await fetch(path, { method, headers: authorized(headers), body: body || undefined });
            const answer = await response.json();
            if (response.ok) tell(answer.message ?? "Done.", "good");
            else tell(answer.detail ?? answer.title ?? `Refused with status ${response.status}.`, "bad");
        } catch (error) {
            tell(`Not known whether it is done: ${error.message}`, "bad");
        }
        await refresh();
    });
    const key = () => [...crypto.getRandomValues(new Uint8Array(16))].map((octet) => octet.toString(16).padStart(2, "0")).join("");
    // A change of the form takes the button away until the pre-flight has been asked about it.
    document.addEventListener("input", (event) => {
        if (!event.target.closest("#make")) return;
        for (const button of document.querySelectorAll("#preflight [data-write]")) button.disabled = true;
    }, true);

    // ---- Addresses are to be sent to colleagues.
    document.addEventListener("click", async (event) => {
        const button = event.target.closest("[data-copy-address]");
        if (!button) return;
        try { await navigator.clipboard.writeText(location.href); button.textContent = "Copied"; }
        catch { button.textContent = "Copy it from the address bar"; }
    });

    showToken();
    showTheme();
    last = Date.now();
    listen();
})();
