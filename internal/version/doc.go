// Package version has the one version of this program, in each form in which others see it. Peers,
// trackers and web servers get only the number of the release; [String] names the exact build, for
// the user. It has no state.
package version
