// Package golden compares what a test makes with files in testdata that a person can read. With
// -update the test writes them anew.
package golden
