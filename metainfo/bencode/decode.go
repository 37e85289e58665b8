package bencode

import (
	"bytes"
	"errors"
	"fmt"

	jackpal "github.com/jackpal/bencode-go"
)

// Causes of a getter's error, for errors.Is.
var (
	ErrMissing = errors.New("missing")
	ErrType    = errors.New("wrong type")
	ErrRange   = errors.New("out of range")
)

// Decode scans the value that data begins with and then decodes it. It returns
// a Dict, a []any, a string or an int64 (nested dictionaries are plain
// map[string]any: see Dict.Dict), and the offset behind the value. Nothing of
// the result refers to data.
func Decode(data []byte, lim Limits) (v any, n int, err error) {
	end, err := Scan(data, lim)
	if err != nil {
		return nil, 0, err
	}
	v, err = decode(data[:end])
	if err != nil {
		return nil, 0, err
	}
	if m, ok := v.(map[string]any); ok {
		v = Dict(m)
	}
	return v, end, nil
}

// DecodeDict is Decode for a value that must be a dictionary.
func DecodeDict(data []byte, lim Limits) (d Dict, n int, err error) {
	if len(data) > 0 && data[0] != 'd' {
		return nil, 0, fmt.Errorf("decode dictionary: %w", ErrType)
	}
	v, n, err := Decode(data, lim)
	if err != nil {
		return nil, 0, err
	}
	return v.(Dict), n, nil
}

// decode hands scanned bytes to bencode-go. The scan leaves it nothing to panic over; if it panics
// nevertheless, a stranger's bytes must not end the process.
func decode(data []byte) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("decode bencode: library panic: %v", r)
		}
	}()
	v, err = jackpal.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode bencode: %w", err)
	}
	return v, nil
}

// Encode returns the bencoding of d: keys sorted, so equal dictionaries have
// equal encodings. Values may be string, []byte, any integer of Go up to
// int64, []any, []string, map[string]any and Dict; anything else is an error.
func Encode(d map[string]any) ([]byte, error) {
	plain, err := normalise(d)
	if err != nil {
		return nil, fmt.Errorf("encode bencode: %w", err)
	}
	var b bytes.Buffer
	if err := jackpal.Marshal(&b, plain); err != nil {
		return nil, fmt.Errorf("encode bencode: %w", err)
	}
	return b.Bytes(), nil
}

// normalise reduces v to the types that bencode-go marshals without surprises.
func normalise(v any) (any, error) {
	switch v := v.(type) {
	case string, int64:
		return v, nil
	case []byte:
		return string(v), nil
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint8:
		return int64(v), nil
	case uint16:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case []string:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = e
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			p, err := normalise(e)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out[i] = p
		}
		return out, nil
	case Dict:
		return normalise(map[string]any(v))
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			p, err := normalise(e)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", printKey([]byte(k)), err)
			}
			out[k] = p
		}
		return out, nil
	default:
		return nil, fmt.Errorf("cannot encode %T: %w", v, ErrType)
	}
}

// Dict is a decoded dictionary. Each getter returns an error that names the key and wraps
// ErrMissing or ErrType; if a key is optional and a wrong type counts as absent, Get is shorter.
type Dict map[string]any

// Get returns d[key] if it is there and of type T: string, int64, []any or map[string]any.
func Get[T any](d Dict, key string) (v T, ok bool) {
	v, ok = d[key].(T)
	return v, ok
}

func must[T any](d Dict, key, want string) (T, error) {
	var zero T
	e, ok := d[key]
	if !ok {
		return zero, fmt.Errorf("key %q: %w", key, ErrMissing)
	}
	v, ok := e.(T)
	if !ok {
		return zero, fmt.Errorf("key %q: %w: is %s, not %s", key, ErrType, kindOf(e), want)
	}
	return v, nil
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case []any:
		return "a list"
	case map[string]any, Dict:
		return "a dictionary"
	default:
		return fmt.Sprintf("%T", v)
	}
}

// Has reports whether the key is there, with a value of any type.
func (d Dict) Has(key string) bool { _, ok := d[key]; return ok }

// Int returns an integer.
func (d Dict) Int(key string) (int64, error) { return must[int64](d, key, "an integer") }

// IntIn returns an integer of at least lo and at most hi; the error of one
// outside wraps ErrRange.
func (d Dict) IntIn(key string, lo, hi int64) (int64, error) {
	v, err := d.Int(key)
	if err == nil && (v < lo || v > hi) {
		return 0, fmt.Errorf("key %q: %d is %w (%d to %d)", key, v, ErrRange, lo, hi)
	}
	return v, err
}

// String returns a string: bytes, in no particular encoding.
func (d Dict) String(key string) (string, error) { return must[string](d, key, "a string") }

// List returns a list.
func (d Dict) List(key string) ([]any, error) { return must[[]any](d, key, "a list") }

// Dict returns a nested dictionary.
func (d Dict) Dict(key string) (Dict, error) {
	if v, ok := d[key].(Dict); ok {
		return v, nil
	}
	m, err := must[map[string]any](d, key, "a dictionary")
	return Dict(m), err
}

// Strings returns a list of strings; the error of an element that is something
// else wraps ErrType.
func (d Dict) Strings(key string) ([]string, error) {
	l, err := d.List(key)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(l))
	for i, e := range l {
		s, ok := e.(string)
		if !ok {
			return nil, fmt.Errorf("key %q: element %d: %w: is %s, not a string", key, i, ErrType, kindOf(e))
		}
		out[i] = s
	}
	return out, nil
}
