package wire

import (
	"errors"
	"slices"
	"testing"
)

type requestVector struct{ Name, Kind, Hex, Error string }

func requestVectors(t testing.TB) []requestVector {
	t.Helper()
	var file struct{ Requests []requestVector }
	load(t, "requests.json", &file)
	if len(file.Requests) < 40 {
		t.Fatalf("%d requests are too few", len(file.Requests))
	}
	return file.Requests
}

func TestVectorsRequests(t *testing.T) {
	for _, v := range requestVectors(t) {
		err := CheckBody(Kind(v.Kind), unhex(t, v.Hex))
		if want := classes[v.Error]; (want == nil) != (v.Error == "") || !errors.Is(err, want) {
			t.Errorf("%s: got %v; want %q", v.Name, err, v.Error)
		}
	}
}

func TestVectorsQueries(t *testing.T) {
	var file struct {
		Queries []struct{ Query, Kind, Rest string }
	}
	load(t, "requests.json", &file)
	found := 0
	for _, v := range file.Queries {
		k, rest, ok := CutKind(v.Query)
		if v.Kind == "" {
			v.Rest = v.Query
		}
		if string(k) != v.Kind || rest != v.Rest || ok != (v.Kind != "") {
			t.Errorf("%q: got %q, %q, %v; want %q, %q", v.Query, k, rest, ok, v.Kind, v.Rest)
		}
		if ok {
			found++
		}
	}
	if found < 5 || found > len(file.Queries)-5 {
		t.Errorf("%d of %d queries are of this protocol", found, len(file.Queries))
	}
}

func TestAddKind(t *testing.T) {
	for _, query := range []string{"", "a=b", "sidecar=poll", "a=%26&b"} {
		for _, k := range []Kind{Stream, Poll, Send} {
			got, rest, ok := CutKind(AddKind(query, k))
			if got != k || rest != query || !ok {
				t.Errorf("%q as %s: got %q, %q, %v", query, k, got, rest, ok)
			}
		}
	}
}

func TestOffered(t *testing.T) {
	own := append(make([]string, 0, 8), "chat")
	if got, want := Offered(own), []string{"chat", Subprotocol}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if got, want := Offered(nil), []string{NoSubprotocol, Subprotocol}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if got := own[:2][1]; got != "" {
		t.Errorf("the application's list was written to: %q", got)
	}
}

// A body passes exactly if each of its frames does in its place, and so does every
// body that is that one without its last frames, but for what must be there.
func FuzzCheckBody(f *testing.F) {
	for _, v := range requestVectors(f) {
		f.Add(v.Kind, unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		err := CheckBody(Kind(kind), body)
		frames, cut := all(body)
		switch {
		case err == nil && (cut != nil || len(frames) == 0):
			t.Fatalf("%x passes: %v", body, cut)
		case err == nil:
			for i, f := range frames {
				if _, bad := decode(f); bad != nil || i > 0 && CheckNext(f) != nil || !f.Type.FromClient() {
					t.Errorf("frame %d passes in its body, and not alone: %v", i, bad)
				}
			}
		case cut != nil && !errors.Is(err, ErrOrder) && !errors.Is(err, ErrBody) && !errors.Is(cut, ErrCut) && err.Error() != cut.Error():
			t.Errorf("%x: got %v; want %v", body, err, cut)
		}
	})
}
