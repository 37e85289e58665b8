package main

import "strings"

// didYouMean is the end of a sentence about a word that is unknown: a word of
// the known ones that is at most two letters away, or one that it begins.
// Empty if there is none.
func didYouMean(unknown string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		d := editDistance(unknown, k)
		if len(unknown) > 2 && strings.HasPrefix(k, unknown) {
			d = min(d, 2)
		}
		if d < least && d < len(unknown) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// editDistance counts the letters to insert, to delete, to change and to swap
// with their neighbour that make b of a.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
