package mse

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The bytes below come from an implementation of the specification in another
// language, with the private keys 01 02 … 14 and 65 66 … 78, the info-hash 00
// 01 … 13, empty pads and the payload "hello".
const (
	goldenA = "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556" +
		"b0918db2b4c658e02a87f7e5fb14b18a553e084cbf3dad2d30f16596ccb982d4" +
		"06258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693"
	goldenB = "d32ae8cedd0de9ca4fe67e35626bb8c7cdb0966727d899f6a62fdb2b68817f9d" +
		"dc4b684e3eb34030b8dba4e028b7cff3264020340cb4eab61923cdc4e4216ba8" +
		"73368d83f0a38e497f1f6b4e3d2012eb91a3ee6056f966f9eae732089b6fa46e"
	goldenReq1    = "78fffb0f23055a793ff7609f359e04e383ec3505"
	goldenID      = "7866a7ec9280fa9770074e99efb2c91fe6600eb7"
	goldenRequest = "80f1f31783ba99b2dde8fdfbcfb0cbcf20bb1b2af1"
	goldenAnswer  = "6a36fe9f24b4fd18c8114089a330" // chooses RC4
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// counting is n bytes that count up from first, and zeros: a private key, and
// the lengths of empty pads.
func counting(first, n byte) *bytes.Reader {
	b := make([]byte, 64)
	for i := range n {
		b[i] = first + i
	}
	return bytes.NewReader(b)
}

func goldenKey() (key [20]byte) {
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func TestGoldenInitiate(t *testing.T) {
	nc := script(unhex(t, goldenB+goldenAnswer))
	res, err := Initiate(t.Context(), nc, goldenKey(), InitiateOptions{Payload: []byte("hello"), rand: counting(1, 20)})
	if err != nil {
		t.Fatal(err)
	}
	if res.Method != RC4 || res.Key != goldenKey() {
		t.Errorf("agreed on %v for %x", res.Method, res.Key)
	}
	if want := unhex(t, goldenA+goldenReq1+goldenID+goldenRequest); !bytes.Equal(nc.out.Bytes(), want) {
		t.Errorf("sent\n%x\nwant\n%x", nc.out.Bytes(), want)
	}
}

func TestGoldenAccept(t *testing.T) {
	nc := script(unhex(t, goldenA+goldenReq1+goldenID+goldenRequest))
	find := func(id [20]byte) ([20]byte, bool) { return goldenKey(), id == KeyID(goldenKey()) }
	res, err := Accept(t.Context(), nc, find, AcceptOptions{preferRC4: true, rand: counting(101, 20)})
	if err != nil {
		t.Fatal(err)
	}
	if res.Method != RC4 || res.Key != goldenKey() {
		t.Errorf("agreed on %v for %x", res.Method, res.Key)
	}
	if want := unhex(t, goldenB+goldenAnswer); !bytes.Equal(nc.out.Bytes(), want) {
		t.Errorf("sent\n%x\nwant\n%x", nc.out.Bytes(), want)
	}
	got := make([]byte, 10)
	n, err := res.Conn.Read(got)
	if err != nil || string(got[:n]) != "hello" {
		t.Errorf("read %q, %v before the stream, want the payload", got[:n], err)
	}
}
