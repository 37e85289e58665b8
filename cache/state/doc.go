// Package state names what a store knows of a piece, and how that changes.
//
//	           first block            hash right          written            synced, journaled
//	Missing ──────────────▶ Partial ─────────────▶ Verified ───────▶ Written ─────────────────▶ Durable
//	 ▲  ▲  ▲                  │  ▲ │                  │  │              │                         │  │
//	 │  │  └── hash wrong ────┘  │ └── in a changed ──┐│  │              │  cannot be read, or     │  │
//	 │  │                        │     file           ││  │              │  a file was changed     │  │
//	 │  │                        │                    ▼▼  │              ▼                         │  │
//	 │  └──────── hash wrong ────┴────────────────── InDoubt ◀──────────┴─────────────────────────┘  │
//	 │                                                  │ hash right: Verified, Written             │
//	 ├──────────── dropped: the disk is stalled ────────┼──┘                                        │
//	 └──────────── Evicted ◀────────────────────────────┼── given up for a quota ───────────────────┘
//
// A piece that is [Verified], [Written] or [Durable] can be read. One that is [Durable] can be read
// after any crash without hashing. The store (package cache) owns the states; others are told of
// changes by [Event] values and keep no copy of a state.
//
// The package is words and a table: it has no state of its own.
package state
