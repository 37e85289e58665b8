package completion

import (
	"fmt"
	"io"
	"strings"
)

const fishHead = `# fish completion for torrentfs
complete -c torrentfs -f

# The words before this one that are neither flags nor their values: the
# command and its arguments.
function __torrentfs_words
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if string match -qr '^-.' -- $word
            contains -- $word %s
            and set skip 1
        else
            echo -- $word
        end
    end
end

function __torrentfs_no_command
    test (count (__torrentfs_words)) = 0
end

# Whether the command is one of these.
function __torrentfs_command
    set -l words (__torrentfs_words)
    contains -- "$words[1]" $argv
end

# Whether the command is one of these, and has so many arguments.
function __torrentfs_argument
    set -l words (__torrentfs_words)
    test (count $words) = (math $argv[1] + 1)
    and contains -- "$words[1]" $argv[2..-1]
end

function __torrentfs_torrents
    __fish_complete_path (commandline -ct) | string match -r '^.*(?:/|\.torrent)(?:\t.*)?$'
end

`

func fishCompletion(w io.Writer, commands []completable) {
	fmt.Fprintf(w, fishHead, strings.Join(valueFlags(commands), " "))
	for _, c := range commands {
		for _, name := range c.names {
			fmt.Fprintf(w, "complete -c torrentfs -n __torrentfs_no_command -a %s -d %s\n", quote(name), quote(c.help))
		}
	}
	fmt.Fprint(w, "complete -c torrentfs -n __torrentfs_no_command -l help -s h -d 'Show this help.'\n"+
		"complete -c torrentfs -n __torrentfs_no_command -l version -s V -d 'Print the version.'\n")
	for _, c := range commands {
		names := strings.Join(c.names, " ")
		for _, f := range c.flags {
			fmt.Fprintf(w, "complete -c torrentfs -n %s", quote("__torrentfs_command "+names))
			for _, name := range f.names {
				if long, ok := strings.CutPrefix(name, "--"); ok {
					fmt.Fprintf(w, " -l %s", long)
				} else {
					fmt.Fprintf(w, " -s %s", name[1:])
				}
			}
			if f.value {
				fmt.Fprint(w, fishValue(f))
			}
			fmt.Fprintf(w, " -d %s\n", quote(f.help))
		}
		for n, arg := range c.args {
			if answer := fishAnswer(arg); answer != "" {
				fmt.Fprintf(w, "complete -c torrentfs -n %s%s\n", quote(fmt.Sprintf("__torrentfs_argument %d %s", n, names)), answer)
			}
		}
	}
}

// fishValue is what a flag takes: a file of the system's own completion, or
// nothing but what is listed.
func fishValue(c candidate) string {
	answer := fishAnswer(c)
	if answer == " -F" {
		return " -r -F"
	}
	return " -x" + answer
}

func fishAnswer(c candidate) string {
	switch {
	case len(c.values) > 0:
		return " -a " + quote(strings.Join(c.values, " "))
	case c.files == "dir":
		return " -a '(__fish_complete_directories (commandline -ct) \"\")'"
	case c.files == "torrent":
		return " -a '(__torrentfs_torrents)'"
	case c.files != "":
		return " -F"
	}
	return ""
}
