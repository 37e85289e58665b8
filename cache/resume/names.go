package resume

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"torrentfs/metainfo"
)

// The record of names, StateDir/INFO-HASH.names, says where those files lie
// that do not lie under the torrent's own safe names. It is text:
//
//	torrentfs names 1
//	<index of the file in the torrent> <path below the data folder, quoted>
//	end <CRC-32C of all before, hex>
//
// It is published before the first byte is written under such a name. One that
// is damaged counts as none: then nothing that lies in the folder is known to
// be ours, and is hashed before it is written to.
const (
	namesHead   = "torrentfs names 1\n"
	NamesSuffix = ".names"
	MaxNames    = 256 << 20 // bytes of a record
)

var errNames = errors.New("record of names is damaged")

// sealText appends the line that ends a text file of ours.
func sealText(b []byte) []byte {
	return fmt.Appendf(b, "end %08x\n", crc32.Checksum(b, castagnoli))
}

// openText returns the lines of a text file of ours between its head and its
// end, and whether the end is right.
func openText(b []byte, head string) (lines string, ok bool) {
	at := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n') + 1
	if want := fmt.Sprintf("end %08x\n", crc32.Checksum(b[:at], castagnoli)); string(b[at:]) != want {
		return "", false
	}
	return strings.CutPrefix(string(b[:at]), head)
}

// EncodeNames makes the record of names that are not the files' own.
func EncodeNames(files []metainfo.File, names []string) []byte {
	b := []byte(namesHead)
	for i := range files {
		if names[i] != files[i].Path {
			b = strconv.AppendInt(b, int64(i), 10)
			b = append(strconv.AppendQuote(append(b, ' '), names[i]), '\n')
		}
	}
	return sealText(b)
}

// DecodeNames returns the names of all files: those of the record, else their
// own. No two files have one name, and all names are local.
func DecodeNames(b []byte, files []metainfo.File) ([]string, error) {
	lines, ok := openText(b, namesHead)
	if !ok {
		return nil, errNames
	}
	names := OwnNames(files)
	last := -1
	for line := range strings.Lines(lines) {
		number, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		i, err := strconv.Atoi(number)
		name, qerr := strconv.Unquote(quoted)
		if err != nil || qerr != nil || i <= last || i >= len(files) || files[i].Pad || CheckPath(name) != nil {
			return nil, errNames
		}
		names[i], last = name, i
	}
	seen := make(map[string]struct{}, len(names))
	for i, name := range names {
		if files[i].Pad {
			continue
		}
		if _, twice := seen[name]; twice {
			return nil, errNames
		}
		seen[name] = struct{}{}
	}
	return names, nil
}

// OwnNames returns the paths that the torrent gives its files, by index.
func OwnNames(files []metainfo.File) []string {
	names := make([]string, len(files))
	for i := range files {
		names[i] = files[i].Path
	}
	return names
}
