package guard

import (
	"net/url"
	"regexp"
	"strings"
)

// hidden replaces a secret.
const hidden = "***"

const (
	minToken  = 16 // bytes of a path's element that may be a passkey
	minSecret = 4  // bytes of what is looked for in a text; less would spoil words
)

// Redact returns a URL as logs, errors and attributes may show it: without user and
// password, without the values of its query, and without elements of its path that
// look like a passkey. What cannot be parsed is not shown at all.
func Redact(raw string) string {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" {
		return hidden
	}
	var b strings.Builder
	b.WriteString(u.Scheme + "://" + u.Host)
	for i, e := range strings.Split(u.EscapedPath(), "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if isToken(e) {
			e = hidden
		}
		b.WriteString(e)
	}
	sep := "?"
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if pair == "" {
			continue
		}
		b.WriteString(sep)
		if key, _, found := strings.Cut(pair, "="); found && !isToken(key) {
			b.WriteString(key + "=")
		}
		b.WriteString(hidden)
		sep = "&"
	}
	return printable(b.String())
}

// RedactHost is Redact for a tracker: its scheme and host alone, as any part of
// the path may be a passkey.
func RedactHost(raw string) string {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" {
		return hidden
	}
	return printable(u.Scheme + "://" + u.Host)
}

// isToken reports whether a path's element, but for its type, may be a user's secret: long, and of
// letters and digits in no order of words.
func isToken(e string) bool {
	e, _, _ = strings.Cut(e, ".")
	if len(e) < minToken || strings.Trim(e, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return false
	}
	return strings.ContainsAny(e, "0123456789") && strings.Trim(e, "0123456789-_") != ""
}

var urlInText = regexp.MustCompile(`(?i)\b(?:https?|udp|wss?|ftp|socks5h?)://[^\s"'<>]+`)

// RedactText redacts every URL in a text.
func RedactText(text string) string { return urlInText.ReplaceAllStringFunc(text, Redact) }

// redactedError is an error whose text is freed of secrets.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// RedactError takes the secrets out of an error about a URL: those of the URL, and of URLs that its
// text quotes, such as the target of a redirect.
func RedactError(err error, u *url.URL) error {
	if err == nil {
		return nil
	}
	if text := Scrub(err.Error(), u); text != err.Error() {
		return &redactedError{text, err}
	}
	return err
}

// Scrub takes the secrets of a URL out of its server's texts, such as "unknown passkey …".
func Scrub(text string, u *url.URL) string {
	text = RedactText(text)
	hide := func(s string) {
		if len(s) >= minSecret {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	if u.User != nil {
		if p, ok := u.User.Password(); ok {
			hide(p)
		}
		hide(u.User.Username())
	}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		_, value, _ := strings.Cut(pair, "=")
		hide(value)
		if v, err := url.QueryUnescape(value); err == nil {
			hide(v)
		}
	}
	elems := strings.Split(u.Path, "/")
	for _, e := range elems[:len(elems)-1] { // the last one is "announce", or a file's name
		hide(e)
	}
	return text
}
