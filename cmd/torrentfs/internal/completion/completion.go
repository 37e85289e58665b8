package completion

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Write writes the script for a shell, bash, zsh or fish.
//
// Two tags of the model's values count: complete tells what an argument names (torrent, dir, file
// or command), and values what it may be.
func Write(w io.Writer, shell string, k *kong.Kong) error {
	commands := completionModel(k)
	var b strings.Builder
	switch shell {
	case "bash":
		bashCompletion(&b, commands)
	case "zsh":
		zshCompletion(&b, commands)
	case "fish":
		fishCompletion(&b, commands)
	default:
		return fmt.Errorf("write completion: no script for %q", shell)
	}
	_, err := io.WriteString(w, b.String())
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
	for i := range commands {
		for j := range commands[i].args {
			if arg := &commands[i].args[j]; arg.files == "command" {
				arg.files, arg.values = "", firstNames(commands)
			}
		}
	}
	return commands
}

func firstNames(commands []completable) (names []string) {
	for _, c := range commands {
		names = append(names, c.names[0])
	}
	return names
}

// valueFlags are the flags of any command that take a value: the word behind
// one is no argument.
func valueFlags(commands []completable) (names []string) {
	for _, c := range commands {
		for _, f := range c.flags {
			if f.value {
				names = append(names, f.names...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
