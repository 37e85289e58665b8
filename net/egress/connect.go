package egress

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

const (
	maxHead    = 16 << 10 // bytes of a proxy's answer
	maxInterim = 4        // answers of 1xx before the one that counts
)

// connectHTTP asks for a connection with CONNECT (RFC 9110, section 9.3.6), and
// reads no byte behind the answer.
func (p *Proxy) connectHTTP(rw io.ReadWriter, target string) error {
	if err := checkTarget(target); err != nil {
		return err
	}
	req := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if p.auth {
		req += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.password)) + "\r\n"
	}
	if _, err := io.WriteString(rw, req+"\r\n"); err != nil {
		return err
	}
	for range maxInterim {
		status, err := readHead(rw)
		switch {
		case err != nil:
			return err
		case status/100 == 1:
			continue
		case status/100 == 2:
			return nil
		case status == http.StatusProxyAuthRequired:
			return ErrProxyAuth
		case status == http.StatusForbidden, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
			return fmt.Errorf("%w: it answers CONNECT %s with %s", ErrProxyForbids, target, statusText(status))
		}
		return fmt.Errorf("%w: %s", ErrTarget, statusText(status))
	}
	return fmt.Errorf("%w: answers without end", ErrNoProxy)
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// checkTarget keeps what a stranger named from becoming another request.
func checkTarget(target string) error {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("parse port: %w", err)
	}
	if host == "" || len(host) > 255 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("/?#@%\\", r) }) {
		return fmt.Errorf("host name of %d bytes cannot be asked for", len(host))
	}
	return nil
}

// readHead reads an answer up to its empty line, byte by byte: what follows is
// the connection's.
func readHead(r io.Reader) (status int, err error) {
	head := make([]byte, 0, 512)
	var b [1]byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) && !bytes.HasSuffix(head, []byte("\n\n")) {
		if len(head) >= maxHead {
			return 0, fmt.Errorf("%w: its answer has no end", ErrNoProxy)
		}
		if err := readAll(r, b[:]); err != nil {
			return 0, err
		}
		head = append(head, b[0])
		if len(head) == len("HTTP/") && !bytes.EqualFold(head, []byte("HTTP/")) {
			return 0, ErrNoProxy
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return 0, ErrNoProxy
	}
	_ = resp.Body.Close() // there is none
	return resp.StatusCode, nil
}
