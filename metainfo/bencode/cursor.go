package bencode

import "fmt"

// Kind is the type of a value under a Cursor.
type Kind uint8

// The kinds. End stands for the end of a list, a dictionary or the data, and
// for a byte that begins no value.
const (
	End Kind = iota
	Integer
	String
	List
	Dictionary
)

func (k Kind) String() string {
	return [...]string{"nothing", "an integer", "a string", "a list", "a dictionary"}[k]
}

// Cursor reads values from left to right without allocating. It is meant for
// bytes that Scan has accepted; on others it stays within them and returns
// errors, but does not find every fault. It is not safe for concurrent use.
type Cursor struct {
	data []byte
	pos  int
}

// NewCursor returns a cursor at the start of data. What it returns refers to
// data.
func NewCursor(data []byte) *Cursor { return &Cursor{data: data} }

// Pos is the offset of the next byte to be read.
func (c *Cursor) Pos() int { return c.pos }

// Kind is the kind of the next value.
func (c *Cursor) Kind() Kind {
	if c.pos >= len(c.data) {
		return End
	}
	switch b := c.data[c.pos]; {
	case b == 'i':
		return Integer
	case b == 'l':
		return List
	case b == 'd':
		return Dictionary
	case b >= '0' && b <= '9':
		return String
	default:
		return End
	}
}

func (c *Cursor) want(k Kind) error {
	if got := c.Kind(); got != k {
		return fmt.Errorf("%w: is %s, not %s", ErrType, got, k)
	}
	return nil
}

// Int consumes an integer.
func (c *Cursor) Int() (int64, error) {
	if err := c.want(Integer); err != nil {
		return 0, err
	}
	v, end, err := readInt(c.data, c.pos)
	if err != nil {
		return 0, err
	}
	c.pos = end
	return v, nil
}

// Bytes consumes a string and returns its bytes, which belong to the data.
func (c *Cursor) Bytes() ([]byte, error) {
	if err := c.want(String); err != nil {
		return nil, err
	}
	from, to, err := readString(c.data, c.pos)
	if err != nil {
		return nil, err
	}
	c.pos = to
	return c.data[from:to:to], nil
}

// OpenList enters a list; its elements follow while More is true.
func (c *Cursor) OpenList() error {
	if err := c.want(List); err != nil {
		return err
	}
	c.pos++
	return nil
}

// OpenDict enters a dictionary; while More is true, a key (to be read with
// Bytes) and its value follow.
func (c *Cursor) OpenDict() error {
	if err := c.want(Dictionary); err != nil {
		return err
	}
	c.pos++
	return nil
}

// More reports whether the open list or dictionary goes on, and consumes its end if not. It is
// false at the end of the data.
func (c *Cursor) More() bool {
	if c.pos >= len(c.data) {
		return false
	}
	if c.data[c.pos] == 'e' {
		c.pos++
		return false
	}
	return true
}

// Skip consumes one value of any kind and returns its bytes, which belong to
// the data.
func (c *Cursor) Skip() ([]byte, error) {
	start, depth := c.pos, 0
	for {
		switch c.Kind() {
		case Integer:
			if _, err := c.Int(); err != nil {
				return nil, err
			}
		case String:
			if _, err := c.Bytes(); err != nil {
				return nil, err
			}
		case List, Dictionary:
			c.pos++
			depth++
		case End:
			if c.pos >= len(c.data) {
				return nil, ErrTruncated
			}
			if c.data[c.pos] != 'e' || depth == 0 {
				return nil, ErrSyntax
			}
			c.pos++
			depth--
		}
		if depth == 0 {
			return c.data[start:c.pos:c.pos], nil
		}
	}
}

// Span returns the range data[from:to] of the value of a key of the dictionary that data begins
// with, byte for byte. The error wraps ErrMissing if there is no such key and ErrType if data is no
// dictionary. Data must have passed Scan.
func Span(data []byte, key string) (from, to int, err error) {
	c := NewCursor(data)
	if err := c.OpenDict(); err != nil {
		return 0, 0, fmt.Errorf("find key %q: %w", key, err)
	}
	for c.More() {
		k, err := c.Bytes()
		if err != nil {
			return 0, 0, fmt.Errorf("find key %q: %w", key, err)
		}
		from := c.Pos()
		if _, err := c.Skip(); err != nil {
			return 0, 0, fmt.Errorf("find key %q: %w", key, err)
		}
		if string(k) == key {
			return from, c.Pos(), nil
		}
	}
	return 0, 0, fmt.Errorf("find key %q: %w", key, ErrMissing)
}
