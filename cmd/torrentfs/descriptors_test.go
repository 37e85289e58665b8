package main

import "testing"

func TestShareDescriptors(t *testing.T) {
	for _, c := range []struct {
		limit uint64
		peers int
		want  descriptors
	}{
		{1 << 63, 80, descriptors{256, 80}},
		{1 << 20, 500, descriptors{256, 500}},
		{1024, 80, descriptors{256, 80}},
		{256, 80, descriptors{64, 80}},
		{256, 200, descriptors{64, 128}},
		{64, 80, descriptors{16, 28}},
		{40, 80, descriptors{10, 10}},
		{40, 3, descriptors{10, 3}},
		{16, 80, descriptors{4, 2}},
	} {
		if got := shareDescriptors(c.limit, c.peers); got != c.want {
			t.Errorf("limit %d, %d peers: %+v, want %+v", c.limit, c.peers, got, c.want)
		}
	}
}
