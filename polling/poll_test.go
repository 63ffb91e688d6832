package polling

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAPollIsAnswered(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		for range 3 {
			got := r.get("/poll")
			p, o := r.poll(), newOnce()
			if !p.Answer(Answer{Status: 418, Type: "text/x", Body: []byte("4hello")}, o.done) {
				t.Fatal("a poll that waits cannot be answered")
			}
			if p.Answer(text("again"), o.done) {
				t.Error("a poll was answered twice")
			}
			o.want(t, true)
			a := await(t, got)
			if a.StatusCode != 418 || a.body != "4hello" || a.ContentLength != 6 {
				t.Errorf("got %d %q of length %d", a.StatusCode, a.body, a.ContentLength)
			}
			for name, want := range map[string]string{
				"Content-Type": "text/x", "Cache-Control": "no-store", "Vary": "Origin", "X-Path": "/poll",
			} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %q; want %q", name, got, want)
				}
			}
			if d, err := http.ParseTime(a.Header.Get("Date")); err != nil || time.Since(d) > time.Minute {
				t.Errorf("Date: %v, %v", d, err)
			}
		}
		if n := r.gone.Load(); n != 0 {
			t.Errorf("%d polls were given up", n)
		}
	})
}

func TestAnEmptyAnswerHasALength(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		got := r.get("/poll")
		r.poll().Answer(Answer{}, nil)
		a := await(t, got)
		_, typed := a.Header["Content-Type"]
		if a.StatusCode != 200 || a.body != "" || a.Header.Get("Content-Length") != "0" || typed {
			t.Errorf("got %d %q %v", a.StatusCode, a.body, a.Header)
		}
	})
}

// An answer to HEAD has the length of a body and no body, or the next answer would
// begin with it.
func TestAPollByHEAD(t *testing.T) {
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		t.Parallel()
		c := r.dial()
		c.send("HEAD /poll HTTP/1.1\r\nHost: a\r\n\r\n")
		p := r.poll()
		if r.way.parks() {
			<-time.After(50 * time.Millisecond) // in which it would be parked
		}
		p.Answer(text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil)
		res, err := http.ReadResponse(c.r, &http.Request{Method: http.MethodHead})
		if err != nil || res.ContentLength != 38 {
			t.Fatalf("got %v, %v; want an answer of length 38", res, err)
		}
		c.get("/now")
		if a := c.answer(); a.body != "now" {
			t.Errorf("then got %q; want now", a.body)
		}
	})
}

func TestALargeAnswer(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		body := strings.Repeat("0123456789abcdef", 4<<20/16)
		got, o := r.get("/poll"), newOnce()
		r.poll().Answer(text(body), o.done)
		if a := await(t, got); a.body != body {
			t.Errorf("%d bytes; want %d", len(a.body), len(body))
		}
		o.want(t, true)
	})
}

func TestAClientThatLeavesIsGoneOnce(t *testing.T) {
	inEveryWay(t, every, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		q, _ := http.NewRequestWithContext(ctx, "GET", r.URL+"/poll", nil)
		go r.do(q)
		p := r.poll()
		cancel()
		r.leaves(time.Second)
		if p.Answer(text("late"), func(bool) { t.Error("done was called") }) {
			t.Error("a poll whose client left was answered")
		}
		if n := r.gone.Load(); n != 1 {
			t.Errorf("gone %d times; want 1", n)
		}
	})
}

// Whoever comes second, the answer or the leaving, finds the poll over.
func TestAnsweringRacesLeaving(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	inEveryWay(t, clear, func(t *testing.T, r *rig) {
		answered := 0
		for range rounds {
			c := r.dial()
			c.get("/poll")
			p, before := r.poll(), r.gone.Load()
			var done sync.WaitGroup
			done.Add(1)
			start := make(chan struct{})
			go func() { <-start; c.Close() }()
			close(start)
			if p.Answer(text("x"), func(bool) { done.Done() }) {
				done.Wait()
				answered++
				if n := r.gone.Load(); n != before {
					t.Fatal("it was answered and gone")
				}
				continue
			}
			r.leaves(patience)
		}
		if n := int(r.gone.Load()); n != rounds-answered {
			t.Errorf("%d rounds: %d answered and %d gone", rounds, answered, n)
		}
	})
}
