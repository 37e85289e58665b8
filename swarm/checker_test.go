package swarm

import "testing"

func TestHashersFor(t *testing.T) {
	tests := []struct{ doubts, cores, want int }{
		{0, 16, checkers},
		{manyDoubts - 1, 16, checkers},
		{manyDoubts, 1, checkers},
		{manyDoubts, 4, 4},
		{1 << 20, 64, maxCheckers},
	}
	for _, tt := range tests {
		if got := hashersFor(tt.doubts, tt.cores); got != tt.want {
			t.Errorf("%d pieces in doubt, %d cores: %d, want %d", tt.doubts, tt.cores, got, tt.want)
		}
	}
}
