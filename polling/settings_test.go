package polling

import (
	"fmt"
	"testing"
)

func TestLimitsValidate(t *testing.T) {
	for body, want := range map[int64]string{
		DefaultLimits().Body: "<nil>",
		1024:                 "<nil>",
		1023:                 "body: 1023 must be at least 1024 bytes",
		-1:                   "body: -1 must be at least 1024 bytes",
	} {
		if got := fmt.Sprint(Limits{Body: body}.Validate()); got != want {
			t.Errorf("%d: got %s; want %s", body, got, want)
		}
	}
}
