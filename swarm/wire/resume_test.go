package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// interrupted is a stream that ends for now, as at a deadline.
type interrupted struct{ *bytes.Reader }

func (i interrupted) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if err == io.EOF {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// A reader that was interrupted anywhere, within a message or between two,
// loses nothing: another one goes on with what it leaves.
func TestAnotherReaderGoesOn(t *testing.T) {
	whole := AppendBitfield(nil, []uint64{1 << 63}, 100_000)
	whole = AppendExtended(whole, 1, pattern(17_000))
	whole = AppendHave(whole, 7)
	whole = AppendExtended(whole, 2, pattern(100))
	whole = AppendUnchoke(whole)
	whole = append(whole, mixed(1)...)
	lim := Limits{Features: allFeatures}
	rapid.Check(t, func(t *rapid.T) {
		cut := rapid.IntRange(0, len(whole)).Draw(t, "cut")
		first := NewReader(interrupted{bytes.NewReader(whole[:cut])}, lim)
		var got []byte
		var m Message
		for {
			err := first.Next(&m)
			if err == nil && m.ID != Piece {
				got = m.Append(got)
				continue
			}
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
		if m.ID == Piece && first.block > 0 { // the reader never changes within a block
			return
		}
		second := NewReaderAfter(first.Unread(), bytes.NewReader(whole[cut:]), lim)
		rest, err := reencode(second)
		if err != io.EOF || !bytes.Equal(append(got, rest...), whole) {
			t.Fatalf("cut at %d of %d: %d bytes and %d, %v", cut, len(whole), len(got), len(rest), err)
		}
		if len(second.buf) != readBuffer {
			t.Fatalf("a buffer of %d bytes is kept", len(second.buf))
		}
	})
}
