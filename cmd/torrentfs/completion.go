package main

import (
	"github.com/alecthomas/kong"

	"torrentfs/cmd/torrentfs/internal/completion"
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
	return completion.Write(a.stdout, o.Shell, k)
}
