package mse

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"testing"
)

// publicKeys are such that make the secret known to all, or are none.
func degenerate() map[string][]byte {
	prime, _ := new(big.Int).SetString(primeHex, 16)
	return map[string][]byte{
		"public key 0":     make([]byte, keyLen),
		"public key 1":     big.NewInt(1).FillBytes(make([]byte, keyLen)),
		"public key P - 1": new(big.Int).Sub(prime, big.NewInt(1)).Bytes(),
		"public key P":     prime.Bytes(),
		"public key max":   bytes.Repeat([]byte{0xff}, keyLen),
	}
}

func TestAcceptFaults(t *testing.T) {
	type test struct {
		name  string
		spoil func(s *says)
		want  error // nil: it must work
	}
	tests := []test{
		{"faultless", func(*says) {}, nil},
		{"longest PadA", func(s *says) { s.pad = make([]byte, maxPad) }, nil},
		{"PadA too long", func(s *says) { s.pad = make([]byte, maxPad+1) }, ErrSync},
		{"longest PadC", func(s *says) { s.pad2, s.padLen = make([]byte, maxPad), maxPad }, nil},
		{"PadC too long", func(s *says) { s.pad2, s.padLen = make([]byte, maxPad+1), maxPad+1 }, ErrProtocol},
		{"PadC of 65535", func(s *says) { s.padLen = 65535 }, ErrProtocol},
		{"longest payload", func(s *says) { s.ia, s.iaLen = make([]byte, maxPayload), maxPayload }, nil},
		{"payload missing", func(s *says) { s.iaLen = 100 }, io.EOF},
		{"payload cut", func(s *says) { s.iaLen, s.ia = 100, make([]byte, 99) }, io.EOF},
		{"mark", func(s *says) { s.sync[19]++ }, io.ErrUnexpectedEOF},
		{"mark, more follows", func(s *says) { s.sync[19]++; s.after = make([]byte, 1000) }, ErrSync},
		{"key", func(s *says) { s.id[0]++ }, ErrUnknownKey},
		{"verification constant", func(s *says) { s.vc[7]++ }, ErrProtocol},
		{"no method", func(s *says) { s.method = 0 }, ErrMethod},
		{"unknown methods", func(s *says) { s.method = 0xfffffffc }, ErrMethod},
		{"unknown methods beside ours", func(s *says) { s.method = 0xffffffff }, nil},
		{"half a mark in PadA", func(s *says) { s.pad = append(bytes.Clone(s.sync[:10]), s.sync[:19]...) }, nil},
	}
	for name, public := range degenerate() {
		tests = append(tests, test{name, func(s *says) { s.public = public }, ErrProtocol})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := peerSays(t, true)
			tt.spoil(s)
			nc := script(s.bytes())
			res, err := Accept(t.Context(), nc, findTestKey, AcceptOptions{rand: testRand(usSeed)})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil && (res.Key != testKey || res.Method != Plaintext) {
				t.Errorf("agreed on %v for %q", res.Method, res.Key)
			}
		})
	}
}

func TestInitiateFaults(t *testing.T) {
	type test struct {
		name    string
		provide Method
		spoil   func(s *says)
		want    error
	}
	tests := []test{
		{"faultless", 0, func(*says) {}, nil},
		{"longest PadB", 0, func(s *says) { s.pad = make([]byte, maxPad) }, nil},
		{"PadB too long", 0, func(s *says) { s.pad = make([]byte, maxPad+1) }, ErrSync},
		{"longest PadD", 0, func(s *says) { s.pad2, s.padLen = make([]byte, maxPad), maxPad }, nil},
		{"PadD too long", 0, func(s *says) { s.pad2, s.padLen = make([]byte, maxPad+1), maxPad+1 }, ErrProtocol},
		{"PadD of 65535", 0, func(s *says) { s.padLen = 65535 }, ErrProtocol},
		{"verification constant", 0, func(s *says) { s.vc[0]++; s.after = make([]byte, 1000) }, ErrSync},
		{"no method", 0, func(s *says) { s.method = 0 }, ErrMethod},
		{"two methods", 0, func(s *says) { s.method = 3 }, ErrMethod},
		{"unknown method", 0, func(s *says) { s.method = 4 }, ErrMethod},
		{"method not offered", Plaintext, func(*says) {}, ErrMethod},
		{"method offered", RC4, func(*says) {}, nil},
	}
	for name, public := range degenerate() {
		tests = append(tests, test{name, 0, func(s *says) { s.public = public }, ErrProtocol})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := peerSays(t, false)
			tt.spoil(s)
			nc := script(s.bytes())
			res, err := Initiate(t.Context(), nc, testKey, InitiateOptions{Provide: tt.provide, rand: testRand(usSeed)})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil && res.Method != RC4 {
				t.Errorf("agreed on %v", res.Method)
			}
		})
	}
	if _, err := Initiate(t.Context(), script(nil), testKey, InitiateOptions{Payload: make([]byte, maxPayload+1)}); err == nil {
		t.Error("a payload was sent whose length cannot be told")
	}
}

// If the other side hangs up, at any byte, there is an error.
func TestCutShort(t *testing.T) {
	accept := func(s *says) {
		s.pad, s.pad2, s.padLen, s.ia, s.iaLen = make([]byte, 30), make([]byte, 20), 20, make([]byte, 10), 10
	}
	s := peerSays(t, true)
	accept(s)
	whole := s.bytes()
	for n := range whole {
		if _, err := Accept(t.Context(), script(whole[:n]), findTestKey, AcceptOptions{rand: testRand(usSeed)}); err == nil {
			t.Fatalf("accepted after %d bytes of %d", n, len(whole))
		}
	}
	s = peerSays(t, false)
	s.pad, s.pad2, s.padLen = make([]byte, 30), make([]byte, 20), 20
	whole = s.bytes()
	for n := range whole {
		if _, err := Initiate(t.Context(), script(whole[:n]), testKey, InitiateOptions{rand: testRand(usSeed)}); err == nil {
			t.Fatalf("initiated after %d bytes of %d", n, len(whole))
		}
	}
}

func TestSamples(t *testing.T) {
	for name, data := range samples(t, "pe_conn") {
		t.Run(name, func(t *testing.T) { acceptRecipe(t, data) })
	}
}

// acceptRecipe plays a recipe against Accept and checks the outcome.
func acceptRecipe(t *testing.T, data []byte) {
	s := peerSays(t, true)
	valid := s.recipe(data)
	s.after = []byte("what follows")
	ia := bytes.Clone(s.ia)
	nc := script(s.bytes())
	res, err := Accept(t.Context(), nc, findTestKey, AcceptOptions{rand: testRand(usSeed)})
	if (err == nil) != valid {
		t.Fatalf("error %v; is the recipe valid: %v", err, valid)
	}
	if err != nil {
		// A mark that is not found is searched for until the bytes end.
		if !isOneOf(err, ErrSync, ErrUnknownKey, ErrProtocol, ErrMethod, io.EOF, io.ErrUnexpectedEOF) {
			t.Fatalf("unexpected error %v", err)
		}
		return
	}
	if nc.in.Len() != len(s.after) {
		t.Errorf("%d bytes are left on the connection, want %d", nc.in.Len(), len(s.after))
	}
	if res.Method == Plaintext && len(ia) == 0 && res.Conn != nc {
		t.Error("the connection was wrapped for nothing")
	}
	got := make([]byte, len(ia))
	if _, err := io.ReadFull(res.Conn, got); err != nil || !bytes.Equal(got, ia) {
		t.Errorf("the payload reads %x, %v; want %x", got, err, ia)
	}
}

func FuzzAccept(f *testing.F) {
	for _, data := range samples(f, "pe_conn") {
		f.Add(data, []byte(nil))
	}
	f.Add([]byte{}, []byte(greeting))
	f.Add([]byte{}, make([]byte, 700))
	f.Fuzz(func(t *testing.T, recipe, raw []byte) {
		acceptRecipe(t, recipe)
		res, err := Accept(t.Context(), script(raw), findTestKey, AcceptOptions{rand: testRand(usSeed)})
		if plain := bytes.HasPrefix(raw, []byte(greeting)); plain != (err == nil) {
			t.Fatalf("bytes of a stranger: %v", err)
		} else if plain {
			if got, err := io.ReadAll(res.Conn); err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("read %x, %v; want %x", got, err, raw)
			}
		}
	})
}

func FuzzInitiate(f *testing.F) {
	for _, data := range samples(f, "pe_conn") {
		f.Add(data, uint32(RC4), []byte(nil))
	}
	f.Add([]byte{200, 0, 255}, uint32(Plaintext), make([]byte, 700))
	f.Fuzz(func(t *testing.T, recipe []byte, method uint32, raw []byte) {
		s := peerSays(t, false)
		corruptVC := len(recipe) > 1 && recipe[1]&4 != 0
		s.recipe(recipe)
		s.method = method
		s.after = []byte("ok")
		nc := script(s.bytes())
		_, err := Initiate(t.Context(), nc, testKey, InitiateOptions{rand: testRand(usSeed)})
		if valid := !corruptVC && (method == 1 || method == 2); valid != (err == nil) {
			t.Fatalf("error %v; is the answer valid: %v", err, valid)
		}
		if err == nil && nc.in.Len() != len(s.after) {
			t.Fatalf("%d bytes are left on the connection, want %d", nc.in.Len(), len(s.after))
		}
		if _, err := Initiate(t.Context(), script(raw), testKey, InitiateOptions{rand: testRand(usSeed)}); err == nil {
			t.Fatal("a stranger's bytes were taken for an answer")
		}
	})
}
