// Walks through the dashboard in Chromium as an operator does, for tests/e2e/big_peers/dashboard.rs:
//
//   node walk.mjs BASE_URL DIRECTORY
//
// It prints `step: …` where the test has to do something (a region is to die, or to come back), and
// `saw: …` for what it saw. Screenshots go to DIRECTORY. It fails at the first thing that is not as
// it should be; so does anything that a browser complains about.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [, , base, directory] = process.argv;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(directory, { recursive: true });

const PATIENCE = 30_000;
const complaints = [];
const say = (text) => process.stdout.write(`${text}\n`);

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Tests run as root in containers, where the sandbox cannot be set up.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

async function open(options) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(PATIENCE);
    // No request may leave the machine.
    await context.route("**", (route) => {
        const url = route.request().url();
        if (!url.startsWith(base)) complaints.push(`a request to ${url}`);
        return route.continue();
    });
    const page = await context.newPage();
    page.on("console", (message) => {
        // The next page may be opened while this one is made anew, which ends that request.
        if (message.text().includes("htmx:error: Failed to fetch")) return;
        if (["error", "warning"].includes(message.type())) complaints.push(`${page.url()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.message}`));
    return page;
}

const go = async (page, path) => {
    const response = await page.goto(base + path);
    assert.equal(response.status(), 200, path);
    await page.locator("#live[data-state=live]").waitFor();
};

/** Waits until a region of the world page has a state, without a reload. */
const becomes = (page, region, state) =>
    page.locator(`tr[data-region="${region}"] .state.${state}`).waitFor();

async function watch(page) {
    await go(page, "/");
    await becomes(page, "tokyo", "up");
    say("step: kill tokyo");
    // The moments at which events come and at which the page shows them, by one clock.
    const delay = page.evaluate(() => new Promise((resolve) => {
        const look = () => {
            if (!document.querySelector('tr[data-region="tokyo"] .state.doubt')) return;
            const times = [...document.querySelectorAll(".events time")].map((time) => Date.parse(time.dateTime));
            // A first failure shows before anything changed that would be an event.
            if (times.length === 0) return;
            observer.disconnect();
            resolve(Date.now() - Math.max(...times));
        };
        const observer = new MutationObserver(look);
        observer.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
    }));
    // One of its two pools is never probed, and so is never down.
    await becomes(page, "tokyo", "doubt");
    assert.match(await page.locator(".incidents").textContent(), /tokyo.*endpoints up/s);
    say(`saw: tokyo down on the screen ${await delay} ms after the event`);
    assert.ok(await delay < 10_000);
    await page.screenshot({ path: `${directory}/world-tokyo-down.png` });
    say("step: revive tokyo");
    await becomes(page, "tokyo", "up");
    say("saw: tokyo up");
}

async function why(page) {
    await go(page, "/ui/why");
    await page.locator("input[name=name]").fill("app.gtm.example");
    await page.locator("input[name=client]").fill("203.0.113.0/24");
    await page.getByRole("button", { name: "Explain" }).click();
    const taken = page.locator(".ladder .taken");
    assert.match(await taken.textContent(), /dublin/);
    await page.getByText("What if these were").click();
    await page.locator('input[name="down"][value="dublin"]').check();
    await page.getByRole("button", { name: "Explain" }).click();
    await page.getByText("Assumed:").waitFor();
    assert.match(await taken.textContent(), /ashburn/);
    // The address is the question: a colleague sees the same.
    const other = await page.context().newPage();
    await other.goto(page.url());
    assert.match(await other.locator(".ladder .taken").textContent(), /ashburn/);
    await other.close();
    say("saw: why");
}

async function services(page) {
    await go(page, "/ui/services");
    await page.locator("input[name=q]").fill("app");
    await page.waitForURL(/q=app/);
    await page.locator("tbody tr").nth(1).waitFor({ state: "detached" });
    await page.getByRole("link", { name: "app.gtm.example" }).click();
    await page.locator("tr[data-endpoint]").nth(2).waitFor();
    say("saw: a service");
}

async function drain(page) {
    await go(page, "/ui/overrides");
    const make = page.locator("#make");
    await make.locator("input[name=what]").fill("tokyo");
    const button = page.locator("#preflight button[data-write]");
    assert.equal(await button.isEnabled(), false, "nothing can be done before the pre-flight");
    await make.locator("input[name=reason]").fill("a test with a <b>tag</b>");
    await make.locator("input[name=for]").fill("1h");
    await page.locator("#preflight table").first().waitFor();
    await page.screenshot({ path: `${directory}/preflight.png`, fullPage: true });
    await page.locator("#preflight button[data-write]:enabled").click();
    const row = page.locator("#in-force tr", { hasText: "tokyo" });
    await row.waitFor();
    assert.match(await row.textContent(), /a test with a <b>tag<\/b>/);
    say("saw: the override");
    const entry = page.locator("#audit tr", { hasText: "tokyo" }).first();
    await entry.waitFor();
    assert.match(await entry.textContent(), /drain/);
    say("saw: the audit entry");
    await go(page, "/");
    await becomes(page, "tokyo", "drained");
    await go(page, "/ui/overrides");
    await row.getByRole("button", { name: "Release" }).click();
    await page.locator("#preflight button[data-write]:enabled").click();
    await row.waitFor({ state: "detached" });
    say("saw: the release");
}

const PAGES = [
    "/", "/ui/services", "/ui/services/app.gtm.example.", "/ui/why?name=app.gtm.example&client=203.0.113.0/24&down=dublin",
    "/ui/events", "/ui/overrides", "/ui/simulate?loss=dublin",
];
const LOOKS = [
    ["light", 1440, 900], ["dark", 1440, 900], ["light", 360, 740], ["dark", 360, 740], ["dark", 3840, 2160],
];

async function inspect() {
    for (const [colorScheme, width, height] of LOOKS) {
        const page = await open({ colorScheme, viewport: { width, height }, reducedMotion: "reduce" });
        for (const path of PAGES) {
            await go(page, path);
            const name = path.replace(/\?.*/, "").replace(/[^a-z]+/g, "-").replace(/^-|-$/g, "") || "world";
            await page.screenshot({ path: `${directory}/${name}-${colorScheme}-${width}.png`, fullPage: true });
            const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            assert.ok(wide <= 0, `${path} is ${wide} px wider than a window of ${width}`);
            const { violations } = await page.evaluate(`${axe}; axe.run()`);
            for (const { id, impact, nodes } of violations) {
                if (!["serious", "critical"].includes(impact)) continue;
                complaints.push(`${path} ${colorScheme} ${width}: ${impact} ${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
            }
        }
        await page.context().close();
        say(`saw: every page ${colorScheme} ${width}`);
    }
}

const page = await open({ colorScheme: "light", viewport: { width: 1440, height: 900 } });
await watch(page);
await why(page);
await services(page);
await drain(page);
await inspect();
await browser.close();
assert.deepEqual(complaints, []);
say("done: no complaint");
