package certs_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/certs"
	"sidecar/test/authority"
)

// Kubernetes replaces both files at once, by one symbolic link: whoever reads in that
// moment gets a pair, the old or the new, and no word of one that does not match.
func TestAPairThatIsSwappedWhileItIsRead(t *testing.T) {
	ca, dir := authority.New(t), t.TempDir()
	one, two := ca.Files(t, "one.example"), ca.Files(t, "two.example")
	link := filepath.Join(dir, "..data")
	swap := func(to authority.Pair) error {
		next := link + ".next"
		if err := os.Symlink(filepath.Dir(to.Cert), next); err != nil {
			return err
		}
		return os.Rename(next, link)
	}
	if err := swap(one); err != nil {
		t.Fatal(err)
	}
	s := certs.Default()
	s.Mode = "files"
	s.Cert, s.Key = []string{filepath.Join(link, filepath.Base(one.Cert))}, []string{filepath.Join(link, filepath.Base(one.Key))}
	c, err := certs.Start(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Each swap is answered by a reload before the next, as it takes longer than
	// reading a pair twice.
	const times = 300
	swaps := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for i := range times {
			<-swaps
			if err := swap([]authority.Pair{two, one}[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for range times {
		swaps <- struct{}{}
		use, err := c.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		use()
	}
	swapping.Wait()
}

// What is no file does not hold the program up, whether it is there at the start or
// comes later.
func TestAPairThatBecomesAPipe(t *testing.T) {
	ca := authority.New(t)
	files := ca.Files(t, "a.example")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s := filesSettings(files)
	s.Cert = []string{pipe}
	if _, err := certs.Start(s, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("at the start: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 90*day, "a.example")
		if err := os.Rename(pipe, r.files.Cert); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if n := r.log.with("the new certificate cannot be used"); n != 1 || r.Fresh() {
			t.Errorf("it is said %d times, fresh %v; want once, and not", n, r.Fresh())
		}
		if r.leaf() == nil {
			t.Error("the old one does not go on")
		}
		r.Close()
	})
}
