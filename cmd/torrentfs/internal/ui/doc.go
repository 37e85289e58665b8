// Package ui is what a person sees of torrentfs: the terminal with its live line and progress bars,
// the log's lines, numbers and names in words, and kong's errors in plain language.
//
// [Terminal] owns standard error, under its mutex: log lines and the live line come from any
// goroutine. Each bar and live line has one goroutine, which ends with it. The package knows no
// torrent, no exit code and no command, and shows nothing of a stranger's that has not gone through
// package safetext.
package ui
