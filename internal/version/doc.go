// Package version has the one version of this program, in each form in which it is told to others.
// What peers, trackers and web servers hear is the number of the release alone; [String] names the
// very build, for the user. It has no state.
package version
