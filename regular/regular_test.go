package regular

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	const most = 2 << 20
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, size int) {
		if err := os.WriteFile(in(name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("none", 0)
	write("most", most)
	write("more", most+1)
	if err := errors.Join(syscall.Mkfifo(in("pipe"), 0o600), os.Symlink("most", in("link"))); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"none": 0, "most": most, "link": most} {
		if b, err := Read(in(name), most); err != nil || !bytes.Equal(b, make([]byte, size)) {
			t.Errorf("%s: %d bytes, %v; want all %d", name, len(b), err, size)
		}
	}
	for name, want := range map[string]Unfit{
		"more": "is larger than 2 MiB", "pipe": "is no regular file", ".": "is no regular file",
	} {
		if b, err := Read(in(name), most); b != nil || !errors.Is(err, want) {
			t.Errorf("%s: %d bytes, %v; want none, %v", name, len(b), err, want)
		}
	}
	if _, err := Read(in("nothing"), most); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v; want %v", err, fs.ErrNotExist)
	}
}
