// Package interop tests torrentfs beside other clients and trackers: reading from them, seeding to
// them, v2 and hybrid torrents, metadata, data that either left behind.
package interop
