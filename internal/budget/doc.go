// Package budget bounds rates: a [Budget] is a token bucket that takes the time as an argument. It
// belongs to one goroutine, or to the owner's lock.
package budget
