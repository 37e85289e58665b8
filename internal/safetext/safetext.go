package safetext

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape returns s with what is harmful written as an escape: \n, \t, \xNN for
// other controls of ASCII and for bytes that are no UTF-8, \uNNNN and
// \UNNNNNNNN for the rest. Text without such characters comes back as it is, and
// so does what Escape returned. A backslash is not escaped: the result is to be
// read by people.
func Escape(s string) string {
	i := harmfulAt(s)
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			writeHex(&b, 'x', uint32(s[i]), 2)
		case !Harmful(r):
			b.WriteString(s[i : i+n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < utf8.RuneSelf:
			writeHex(&b, 'x', uint32(r), 2)
		case r <= 0xffff:
			writeHex(&b, 'u', uint32(r), 4)
		default:
			writeHex(&b, 'U', uint32(r), 8)
		}
		i += n
	}
	return b.String()
}

// Clip is Escape of the first max bytes of s, for text that a stranger may make
// as long as he likes. A cut is marked by "…".
func Clip(s string, max int) string {
	if len(s) <= max {
		return Escape(s)
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return Escape(s[:max]) + "…"
}

// Harmful reports whether a character is not to be shown as it is: controls (C0, DEL, C1),
// separators of lines and paragraphs, marks that turn the direction of text, all others without a
// shape, spaces that are not the space, and what Unicode has not given a meaning. The two
// characters that choose between the forms of an emoji stay.
func Harmful(r rune) bool {
	switch {
	case r >= ' ' && r < 0x7f:
		return false
	case r == 0xfe0e, r == 0xfe0f:
		return false
	case !unicode.IsPrint(r):
		return true
	}
	// Joiners, fillers and a blank that count as marks, letters and a symbol.
	return r == 0x2800 || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func harmfulAt(s string) int {
	for i, r := range s {
		if Harmful(r) || r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i
		}
	}
	return -1
}

func writeHex(b *strings.Builder, kind byte, v uint32, digits int) {
	const hex = "0123456789abcdef"
	b.WriteByte('\\')
	b.WriteByte(kind)
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b.WriteByte(hex[v>>shift&0xf])
	}
}

// EscapeJSON returns valid JSON with what is harmful inside its strings written
// as \uNNNN, so that a program that decodes it gets the text as it was. What an
// encoder wrote between strings, line ends among them, stays.
func EscapeJSON(json []byte) []byte {
	var out []byte // nil while nothing had to be changed
	done := 0
	for i := 0; i < len(json); {
		if c := json[i]; c < utf8.RuneSelf && c != 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(json[i:])
		if Harmful(r) {
			out = append(out, json[done:i]...)
			for _, unit := range utf16.Encode([]rune{r}) {
				var b strings.Builder
				writeHex(&b, 'u', uint32(unit), 4)
				out = append(out, b.String()...)
			}
			done = i + n
		}
		i += n
	}
	if out == nil {
		return json
	}
	return append(out, json[done:]...)
}

// JSONWriter passes on JSON as EscapeJSON has it. Each Write must be of whole
// values, as those of encoding/json and log/slog are.
func JSONWriter(w io.Writer) io.Writer {
	return writer{w, EscapeJSON}
}

// LineWriter passes on lines as Escape has them. Each Write must be of whole
// lines.
func LineWriter(w io.Writer) io.Writer {
	return writer{w, func(p []byte) []byte {
		text := string(p)
		var b strings.Builder
		for line := range strings.Lines(text) {
			body := strings.TrimSuffix(line, "\n")
			b.WriteString(Escape(body))
			b.WriteString(line[len(body):])
		}
		return []byte(b.String())
	}}
}

type writer struct {
	w    io.Writer
	safe func([]byte) []byte
}

func (w writer) Write(p []byte) (int, error) {
	if _, err := w.w.Write(w.safe(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
