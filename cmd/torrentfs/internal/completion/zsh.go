package completion

import (
	"fmt"
	"io"
	"strings"
)

func zshCompletion(w io.Writer, commands []completable) {
	fmt.Fprint(w, "#compdef torrentfs\n# zsh completion for torrentfs\n_torrentfs() {\n    local curcontext=$curcontext state line\n    local -a commands\n    commands=(\n")
	for _, c := range commands {
		for _, name := range c.names {
			fmt.Fprintf(w, "        %s\n", quote(strings.ReplaceAll(name, ":", `\:`)+":"+c.help))
		}
	}
	fmt.Fprint(w, "    )\n    _arguments -C '1:command:->command' '*::argument:->argument'\n    case $state in\n    command) _describe -t commands 'torrentfs command' commands ;;\n    argument)\n        case $words[1] in\n")
	for _, c := range commands {
		fmt.Fprintf(w, "        %s)\n            _arguments -s", strings.Join(c.names, "|"))
		for _, f := range c.flags {
			for _, name := range f.names {
				fmt.Fprintf(w, " \\\n                %s", quote(zshFlag(f, name)))
			}
		}
		for n, arg := range c.args {
			position := fmt.Sprint(n + 1)
			if arg.many {
				position = "*"
			}
			fmt.Fprintf(w, " \\\n                %s", quote(position+":"+arg.label+":"+zshAction(arg)))
		}
		fmt.Fprint(w, "\n            ;;\n")
	}
	fmt.Fprint(w, "        esac\n        ;;\n    esac\n}\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    _torrentfs \"$@\"\nelse\n    compdef _torrentfs torrentfs\nfi\n")
}

func zshFlag(f candidate, name string) string {
	help := strings.NewReplacer("[", "(", "]", ")", ":", `\:`).Replace(f.help)
	spec := name
	if f.value {
		if strings.HasPrefix(name, "--") {
			spec += "="
		} else {
			spec += "+"
		}
	}
	spec += "[" + help + "]"
	if f.value {
		spec += ":" + f.label + ":" + zshAction(f)
	}
	if f.many {
		spec = "*" + spec
	}
	return spec
}

func zshAction(c candidate) string {
	switch {
	case len(c.values) > 0:
		return "(" + strings.Join(c.values, " ") + ")"
	case c.files == "dir":
		return "_files -/"
	case c.files == "torrent":
		return `_files -g "*.torrent(-.)"`
	case c.files != "":
		return "_files"
	}
	return " "
}
