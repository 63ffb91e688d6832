package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The vectors in testdata are also read by clients in other languages. They were
// made by another encoder than this package's.

type vector struct {
	Name, Hex, From, Error string
	Fill                   int
	Frame                  meaning
}

func (v vector) bytes(t testing.TB) []byte {
	t.Helper()
	return append(unhex(t, v.Hex), bytes.Repeat([]byte("a"), v.Fill)...)
}

// A meaning is what a frame says, in words.
type meaning struct {
	Type                     string
	Binary, More, Skip       bool
	Number, Offset           uint64
	Payload, Mark            string
	Fill, Length             int
	Received, Ahead, Partial uint64
	Code                     int
	Reason                   string
	Turn, Generation, Within uint64
	Session, Token           string
	JSON                     json.RawMessage
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB, name string, to any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func frameVectors(t testing.TB) (valid, invalid []vector) {
	t.Helper()
	var file struct{ Valid, Invalid []vector }
	load(t, "frames.json", &file)
	if len(file.Valid) < 50 || len(file.Invalid) < 100 {
		t.Fatalf("%d valid and %d invalid frames are too few", len(file.Valid), len(file.Invalid))
	}
	return file.Valid, file.Invalid
}

// value is what ought to be decoded from m's frame.
func (m meaning) value(t testing.TB) any {
	t.Helper()
	switch m.Type {
	case "DATA":
		p := append(unhex(t, m.Payload), bytes.Repeat([]byte("a"), m.Fill)...)
		return Data{m.Binary, m.More, m.Number, m.Offset, p}
	case "ACK":
		return Ack{m.Received, m.Ahead, m.Partial}
	case "CLOSE":
		return Close{m.Number, m.Code, m.Reason}
	case "USE":
		return Use{m.Turn, m.Generation}
	case "CONTINUE":
		return Continue{m.Generation, m.Session, m.Token}
	case "GOAWAY":
		return goaway(m.Within)
	case "PING", "PONG":
		return mark{m.Type, string(unhex(t, m.Mark))}
	case "PAD":
		return pad(m.Length)
	case "HELLO":
		return loosely(t, m.JSON, &Hello{Position: Position{Lowest: 1}})
	case "WELCOME":
		return loosely(t, m.JSON, &Welcome{})
	case "REFUSED":
		return loosely(t, m.JSON, &Refused{})
	case "GONE":
		return loosely(t, m.JSON, &Gone{})
	}
	return skipped{}
}

func loosely[T any](t testing.TB, raw json.RawMessage, v *T) *T {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What has no type of its own.
type (
	goaway  uint64
	pad     int
	mark    struct{ name, mark string }
	skipped struct{}
)

// decode reads a frame of any type.
func decode(f Frame) (any, error) {
	switch f.Type {
	case TypeHello:
		return ParseHello(f.Body)
	case TypeWelcome:
		return ParseWelcome(f.Body)
	case TypeRefused:
		return ParseRefused(f.Body)
	case TypeGone:
		return ParseGone(f.Body)
	case TypeContinue:
		return ParseContinue(f.Body)
	case TypeUse:
		return ParseUse(f.Body)
	case TypeData:
		return ParseData(f.Body)
	case TypeAck:
		return ParseAck(f.Body)
	case TypeClose:
		return ParseClose(f.Body)
	case TypePing, TypePong:
		return mark{f.Type.String(), string(f.Body)}, nil
	case TypeGoaway:
		within, err := ParseGoaway(f.Body)
		return goaway(within), err
	case TypePad:
		return pad(len(f.Body)), nil
	}
	return skipped{}, nil
}

// encode writes what decode has read; nil: it cannot be written.
func encode(v any) (frame []byte, err error) {
	switch v := v.(type) {
	case interface {
		Append([]byte) ([]byte, error)
	}:
		return v.Append(nil)
	case interface{ Append([]byte) []byte }:
		return v.Append(nil), nil
	case mark:
		if v.name == "PING" {
			return AppendPing(nil, []byte(v.mark)), nil
		}
		return AppendPong(nil, []byte(v.mark)), nil
	case goaway:
		return AppendGoaway(nil, uint64(v)), nil
	case pad:
		n := 2 + int(v)
		if v >= 0x80 {
			n++
		}
		return AppendPad(nil, n), nil
	}
	return nil, nil
}

func TestVectorsValid(t *testing.T) {
	valid, _ := frameVectors(t)
	seen := map[Type]bool{}
	for _, v := range valid {
		p := v.bytes(t)
		f, rest, err := Split(p)
		if err != nil || len(rest) > 0 {
			t.Errorf("%s: left %x, error %v; want neither", v.Name, rest, err)
			continue
		}
		seen[f.Type] = true
		if name := f.Type.String(); !v.Frame.Skip && name != v.Frame.Type {
			t.Errorf("%s: got a %s; want %s", v.Name, name, v.Frame.Type)
		}
		if got, want := f.Type.FromClient(), v.From != "server"; got != want && v.Frame.Type != "CLOSE" {
			t.Errorf("%s: a client may send it: %v; want %v", v.Name, got, want)
		}
		if got, want := f.Type.FromServer(), v.From != "client"; got != want {
			t.Errorf("%s: a server may send it: %v; want %v", v.Name, got, want)
		}
		got, err := decode(f)
		if want := v.Frame.value(t); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, error %v; want %+v", v.Name, got, err, want)
		}
		again, err := encode(got)
		if f.Type < TypeContinue { // JSON has many forms
			if f, _, _ = Split(again); err == nil {
				got2, _ := decode(f)
				again = p
				if !reflect.DeepEqual(got, got2) {
					t.Errorf("%s: came back as %+v; want %+v", v.Name, got2, got)
				}
			}
		}
		if !v.Frame.Skip && (err != nil || !bytes.Equal(again, p)) {
			t.Errorf("%s: written as %.80x, error %v; want %.80x", v.Name, again, err, p)
		}
	}
	for typ := TypeHello; typ <= TypePad; typ++ {
		if !seen[typ] {
			t.Errorf("no vector has a %v", typ)
		}
	}
}

var classes = map[string]error{
	"cut": ErrCut, "type": ErrType, "long": ErrLong, "number": ErrNumber, "body": ErrBody,
	"order": ErrOrder, "gap": ErrGap, "contrary": ErrContrary, "large": ErrLarge,
}

func TestVectorsInvalid(t *testing.T) {
	_, invalid := frameVectors(t)
	for _, v := range invalid {
		f, rest, err := Split(v.bytes(t))
		if err == nil && len(rest) > 0 {
			t.Errorf("%s: left %x", v.Name, rest)
		}
		if err == nil {
			_, err = decode(f)
		}
		if want := classes[v.Error]; want == nil || !errors.Is(err, want) {
			t.Errorf("%s: got %v; want %s", v.Name, err, v.Error)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%s: the error has %d bytes of a stranger's", v.Name, len(err.Error()))
		}
	}
}

func TestVectorsAssembly(t *testing.T) {
	var file struct {
		Cases []struct {
			Name  string
			Limit int64
			Steps []struct {
				Frame, Want            string
				Number, Offset, Length uint64
				Awaited, Held          uint64
				More, Binary           bool
			}
		}
	}
	load(t, "assembly.json", &file)
	wants := map[string]bool{}
	for _, c := range file.Cases {
		a := &Assembly{Limit: c.Limit}
		for i, s := range c.Steps {
			wants[s.Want] = true
			got := ""
			switch before := a.Held(); s.Frame {
			case "CLOSE":
				taken, err := a.Close(s.Number)
				got = outcome(t, err, taken, "close", "skipped")
			case "DATA":
				m, whole, err := a.Add(Data{s.Binary, s.More, s.Number, s.Offset, letters(s.Number, s.Offset, s.Length)})
				got = outcome(t, err, whole, "whole", map[bool]string{true: "piece", false: "skipped"}[a.Held() > before])
				if whole && !bytes.Equal(m, letters(s.Number, 0, s.Offset+s.Length)) {
					t.Errorf("%s, step %d: the message is not what was sent", c.Name, i)
				}
			}
			ack := a.Ack(0)
			if got != s.Want || ack.Next() != s.Awaited || ack.Partial != s.Held {
				t.Errorf("%s, step %d: %s, awaits %d, holds %d; want %s, %d, %d", c.Name, i, got, ack.Next(), ack.Partial, s.Want, s.Awaited, s.Held)
			}
		}
	}
	if want := 7; len(wants) != want {
		t.Errorf("the cases have %d kinds of outcome; want %d", len(wants), want)
	}
}

func outcome(t *testing.T, err error, ok bool, yes, no string) string {
	t.Helper()
	switch {
	case err == nil && ok:
		return yes
	case err == nil:
		return no
	}
	for name, class := range classes {
		if errors.Is(err, class) {
			return name
		}
	}
	return err.Error()
}

// letters are the bytes that the vectors' messages have from an offset on.
func letters(number, offset, n uint64) []byte {
	p := make([]byte, 0, n)
	for at := offset; uint64(len(p)) < n; at += 251 { // they come again
		var round [251]byte
		for i := range round {
			round[i] = byte(((at+uint64(i))*7 + number) % 251)
		}
		p = append(p, round[:min(n-uint64(len(p)), 251)]...)
	}
	return p
}

func TestVectorsExchanges(t *testing.T) {
	var file struct {
		Exchanges []struct {
			Name  string
			Steps []struct {
				From, Hex, Carrier string
				Frames             []meaning
			}
		}
	}
	load(t, "exchanges.json", &file)
	if len(file.Exchanges) < 5 {
		t.Fatalf("%d exchanges are too few", len(file.Exchanges))
	}
	for _, x := range file.Exchanges {
		for i, s := range x.Steps {
			rest := unhex(t, s.Hex)
			for _, m := range s.Frames {
				var f Frame
				var err error
				if f, rest, err = Split(rest); err != nil {
					t.Fatalf("%s, step %d: %v", x.Name, i, err)
				}
				got, err := decode(f)
				if want := m.value(t); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s, step %d: got %+v, error %v; want %+v", x.Name, i, got, err, want)
				}
				if s.From == "client" && !f.Type.FromClient() || s.From == "server" && !f.Type.FromServer() {
					t.Errorf("%s, step %d: no %s may send %v", x.Name, i, s.From, f.Type)
				}
			}
			if len(rest) > 0 || !strings.Contains("websocket stream poll send", s.Carrier) {
				t.Errorf("%s, step %d: left %x, carrier %q", x.Name, i, rest, s.Carrier)
			}
		}
	}
}
