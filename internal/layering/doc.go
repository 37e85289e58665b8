// Package layering holds the house's order: every package has a floor, and an
// import points down only. It has no code but its test.
package layering
