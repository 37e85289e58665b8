package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help is the text below the summary.
func (completionCmd) Help() string {
	return `For this shell only:

    source <(torrentfs completion bash)
    source <(torrentfs completion zsh)
    torrentfs completion fish | source

For good, write the output to where the shell looks for it:

    ~/.local/share/bash-completion/completions/torrentfs
    a directory of $fpath, as _torrentfs
    ~/.config/fish/completions/torrentfs.fish`
}

// Run prints the script.
func (o *completionCmd) Run(a *app, k *kong.Kong) error {
	commands := completionModel(k)
	var b strings.Builder
	switch o.Shell {
	case "bash":
		bashCompletion(&b, commands)
	case "zsh":
		zshCompletion(&b, commands)
	case "fish":
		fishCompletion(&b, commands)
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// completable is a command as a shell needs to know it.
type completable struct {
	names []string // its name, then its aliases
	help  string
	flags []candidate
	args  []candidate
}

// candidate is a flag or an argument.
type candidate struct {
	names  []string // as typed: --data-dir, -f; empty for an argument
	label  string
	help   string
	value  bool     // a flag that takes a value
	values []string // what it may be, where that is a short list
	files  string   // "torrent", "dir" or "file" where it names one
	many   bool     // may be given more than once
}

// completionModel reads the command line from kong's own model, so that a new
// flag is completed without anybody thinking of it.
func completionModel(k *kong.Kong) []completable {
	var commands []completable
	for _, node := range k.Model.Children {
		if node.Hidden {
			continue
		}
		c := completable{names: append([]string{node.Name}, node.Aliases...), help: node.Help}
		for _, flag := range slices.Concat(node.AllFlags(true)...) {
			f := newCandidate(flag.Value)
			f.names = []string{"--" + flag.Name}
			for _, alias := range flag.Aliases {
				f.names = append(f.names, "--"+alias)
			}
			if flag.Short != 0 {
				f.names = append(f.names, "-"+string(flag.Short))
			}
			f.value = !flag.IsBool()
			c.flags = append(c.flags, f)
		}
		for _, arg := range node.Positional {
			c.args = append(c.args, newCandidate(arg))
		}
		commands = append(commands, c)
	}
	return commands
}

func newCandidate(v *kong.Value) candidate {
	c := candidate{label: v.Name, help: v.Help, files: v.Tag.Get("complete"), many: v.IsCumulative()}
	switch {
	case v.Enum != "":
		c.values = v.EnumSlice()
	case v.Tag.Has("values"):
		c.values = strings.Split(v.Tag.Get("values"), ",")
	}
	return c
}

// quote makes one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

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
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd='' i
    COMPREPLY=()
    if [[ $cur == '=' ]]; then
        cur=''
    elif [[ $prev == '=' ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -* ]] && continue
        cmd=${COMP_WORDS[i]}
        break
    done
`

func bashCompletion(w io.Writer, commands []completable) {
	fmt.Fprint(w, bashHead)
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
			fmt.Fprint(w, "        case $((COMP_CWORD - i)) in\n")
			for n, arg := range c.args {
				fmt.Fprintf(w, "        %s) %s ;;\n", bashPosition(n, len(c.args)), bashAnswer(arg))
			}
			fmt.Fprint(w, "        esac\n")
		}
		fmt.Fprint(w, "        ;;\n")
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.names[0])
	}
	fmt.Fprintf(w, "    '') mapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\") ;;\n", quote(strings.Join(append(names, "--help"), " ")))
	fmt.Fprint(w, "    esac\n}\ncomplete -F _torrentfs torrentfs\n")
}

// bashPosition is the pattern for argument n of a command that has count. The
// last one also stands for all later words, because flags between the
// arguments move them.
func bashPosition(n, count int) string {
	if n == count-1 {
		return "*"
	}
	return fmt.Sprint(n + 1)
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

func fishCompletion(w io.Writer, commands []completable) {
	fmt.Fprint(w, "# fish completion for torrentfs\ncomplete -c torrentfs -f\n")
	for _, c := range commands {
		for _, name := range c.names {
			fmt.Fprintf(w, "complete -c torrentfs -n __fish_use_subcommand -a %s -d %s\n", quote(name), quote(c.help))
		}
	}
	for _, c := range commands {
		when := quote("__fish_seen_subcommand_from " + strings.Join(c.names, " "))
		for _, f := range c.flags {
			fmt.Fprintf(w, "complete -c torrentfs -n %s", when)
			for _, name := range f.names {
				if long, ok := strings.CutPrefix(name, "--"); ok {
					fmt.Fprintf(w, " -l %s", long)
				} else {
					fmt.Fprintf(w, " -s %s", name[1:])
				}
			}
			if f.value {
				fmt.Fprint(w, " -r", fishAnswer(f))
			}
			fmt.Fprintf(w, " -d %s\n", quote(f.help))
		}
		for _, arg := range c.args {
			if answer := fishAnswer(arg); answer != "" {
				fmt.Fprintf(w, "complete -c torrentfs -n %s%s\n", when, answer)
			}
		}
	}
}

func fishAnswer(c candidate) string {
	switch {
	case len(c.values) > 0:
		return " -a " + quote(strings.Join(c.values, " "))
	case c.files == "dir":
		return " -a '(__fish_complete_directories)'"
	case c.files == "torrent":
		return " -a '(__fish_complete_suffix .torrent)'"
	case c.files != "":
		return " -F"
	}
	return ""
}
