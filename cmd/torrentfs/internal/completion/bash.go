package completion

import (
	"fmt"
	"io"
	"strings"
)

const bashHead = `# bash completion for torrentfs
_torrentfs_files() { # $1: torrent, dir or file
    compopt -o filenames 2>/dev/null
    case $1 in
    dir) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    torrent) mapfile -t COMPREPLY < <(compgen -d -- "$cur"; compgen -f -X '!*.torrent' -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    esac
}

_torrentfs() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd='' args=0 skip='' i word
    local values=%s
    COMPREPLY=()
    if [[ $cur == '=' ]]; then
        cur=''
    elif [[ $prev == '=' ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    # The command, and how many arguments it has before this word.
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == '=' ]]; then
            skip=1
        elif [[ $skip ]]; then
            skip=''
        elif [[ $word == -?* ]]; then
            [[ $values == *" $word "* ]] && skip=1
        elif [[ ! $cmd ]]; then
            cmd=$word
        else
            args=$((args + 1))
        fi
    done
`

func bashCompletion(w io.Writer, commands []completable) {
	fmt.Fprintf(w, bashHead, quote(" "+strings.Join(valueFlags(commands), " ")+" "))
	fmt.Fprint(w, "    case $cmd,$prev in\n")
	for _, c := range commands {
		for _, f := range c.flags {
			if !f.value {
				continue
			}
			var patterns []string
			for _, name := range f.names {
				for _, command := range c.names {
					patterns = append(patterns, command+","+name)
				}
			}
			fmt.Fprintf(w, "    %s) %s return ;;\n", strings.Join(patterns, "|"), bashAnswer(f))
		}
	}
	fmt.Fprint(w, "    esac\n    case $cmd in\n")
	for _, c := range commands {
		var flags []string
		for _, f := range c.flags {
			flags = append(flags, f.names...)
		}
		fmt.Fprintf(w, "    %s)\n        if [[ $cur == -* ]]; then\n            mapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\")\n            return\n        fi\n",
			strings.Join(c.names, "|"), quote(strings.Join(flags, " ")))
		if len(c.args) > 0 {
			fmt.Fprint(w, "        case $args in\n")
			for n, arg := range c.args {
				fmt.Fprintf(w, "        %d) %s ;;\n", n, bashAnswer(arg))
			}
			fmt.Fprint(w, "        esac\n")
		}
		fmt.Fprint(w, "        ;;\n")
	}
	fmt.Fprintf(w, "    '') mapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\") ;;\n",
		quote(strings.Join(append(firstNames(commands), "--help", "--version"), " ")))
	fmt.Fprint(w, "    esac\n}\ncomplete -F _torrentfs torrentfs\n")
}

func bashAnswer(c candidate) string {
	switch {
	case len(c.values) > 0:
		return fmt.Sprintf("mapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\");", quote(strings.Join(c.values, " ")))
	case c.files != "":
		return "_torrentfs_files " + c.files + ";"
	}
	return ":;"
}
