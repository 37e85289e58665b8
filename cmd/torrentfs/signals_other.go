//go:build !linux

package main

func ignoreReserved() {} // there is no such signal
