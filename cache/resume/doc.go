// Package resume is the codecs of what a store keeps on disk beside the payload, so that the next
// start need not hash it again: the snapshot (INFO-HASH.resume), the journal that continues it
// (INFO-HASH.journal), the record of names (INFO-HASH.names), the catalogue of complete files
// (INFO-HASH.files), and what a lock says of its holder. docs/formats.md describes every byte.
//
// It turns bytes into values and values into bytes. It owns no state, opens no file, and has no
// clock: package cache reads, writes, syncs and renames. Damaged bytes give an error, and never
// decide how much is read or allocated. Whatever is in doubt is not vouched for: the caller hashes
// it.
//
// The bytes are a contract with other versions of the program. The golden files in
// testdata/formats hold them; a change is a new version number and a new golden file beside the
// old one.
package resume
