// Package completion writes the scripts by which bash, zsh and fish complete the command line. They are
// made of kong's own model, so that a new flag is completed without a change here. It keeps no state and
// starts nothing: a script is text.
package completion
