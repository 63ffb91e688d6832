// Package regular reads files that others name, write and replace: what stands there may
// be anything.
package regular

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Unfit is the error of a file that is there and is not to be read, in words that go
// behind its name.
type Unfit string

func (u Unfit) Error() string { return string(u) }

// Read reads a whole regular file of at most that many bytes, which are whole MiB. Of
// anything else, and of a larger one, nothing is returned: the error is Unfit then, and
// otherwise that of the file system. A file that grows meanwhile is judged by what was
// read. It does not wait: a pipe might never end, nor be opened even, which is why it is
// opened without waiting before it is looked at.
func Read(name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, Unfit("is no regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, Unfit(fmt.Sprintf("is larger than %d MiB", most>>20))
	}
	return b, nil
}
