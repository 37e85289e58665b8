// Command testcount reads the events of `go test -json` from several runs, shows what
// failed and was skipped, and ends with one line that counts all tests:
//
//	412 passed, 0 failed, 3 skipped
//
// Its exit code is 1 if anything failed. With -event it writes an event of its
// own instead, so that checks which are no Go tests are counted as well; see
// scripts/test.sh.
package main
