# Completion of meridian for fish. The command itself knows what may follow.
# Installed as /usr/share/fish/vendor_completions.d/meridian.fish; or: source meridian.fish

function __meridian_complete
    set -l typed (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l lines ($typed[1] complete -- $typed $current 2>/dev/null)
    if test "$lines[1]" = :files
        __fish_complete_path (string replace --regex -- '^--[^=]*=' '' $current)
        return
    end
    if set --query lines[1]
        printf '%s\n' $lines
    end
end

complete --command meridian --keep-order --no-files --arguments '(__meridian_complete)'
