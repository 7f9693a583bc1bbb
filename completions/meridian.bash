# Completion of meridian for bash 4.4 or newer. The command itself knows what may follow.
# Installed as /usr/share/bash-completion/completions/meridian; or: source meridian.bash

_meridian() {
    # readline splits words at colons and equals signs too; labels, IPv6 addresses and --option=value
    # have them. What no blank separates on the line is put together again, up to the cursor.
    local line=${COMP_LINE:0:COMP_POINT} words=() word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $line == [[:blank:]]* ]]; then
            line=${line#"${line%%[![:blank:]]*}"}
            words+=("")
        fi
        # The cursor may stand inside the last word.
        ((i == COMP_CWORD)) && word=$line
        words[-1]+=$word
        line=${line#"$word"}
    done

    # readline replaces only what follows the last character at which it splits.
    local current=${words[-1]} kept=
    case $COMP_WORDBREAKS in
        *:*=* | *=*:*) kept=${current%"${current##*[:=]}"} ;;
        *:*) kept=${current%"${current##*:}"} ;;
        *=*) kept=${current%"${current##*=}"} ;;
    esac

    COMPREPLY=()
    local value
    while IFS=$'\t' read -r value _; do
        if [[ $value == :files ]]; then
            compopt -o default 2>/dev/null
            COMPREPLY=()
            return
        fi
        COMPREPLY+=("${value#"$kept"}")
    done < <("$1" complete -- "${words[@]}" 2>/dev/null)
}

complete -o nosort -F _meridian meridian
