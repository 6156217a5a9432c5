package password

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/postern-io/postern/registry"
)

func TestVerify(t *testing.T) {
	h := NewHasher()
	// C02: nothing is cut, Unicode counts.
	long := strings.Repeat("a", 75) + "b" + strings.Repeat("a", 4)
	for name, password := range map[string]string{"a phrase": "correct horse battery staple", "Unicode": "пароль из многих слов ✓", "80 characters": long} {
		phc, err := h.Hash(t.Context(), password)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(phc, password) || !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("%s: stored as %q", name, phc)
		}
		if ok, stale, err := h.Verify(t.Context(), phc, password); !ok || stale || err != nil {
			t.Errorf("%s: got %v, %v, %v, want to be right and fresh", name, ok, stale, err)
		}
		for _, wrong := range []string{"", password + " ", password[:len(password)-1], strings.Repeat("a", 80)} {
			if ok, _, _ := h.Verify(t.Context(), phc, wrong); ok {
				t.Errorf("%s: %q was taken", name, wrong)
			}
		}
	}
}

func TestVerifyOfNobodyIsFalse(t *testing.T) {
	h := NewHasher()
	if ok, _, err := h.Verify(t.Context(), "", "no account has this password"); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

// C08: a hash of lower cost is right, and due to be made anew.
func TestCheapHashIsStale(t *testing.T) {
	phc := encode("correct horse battery staple", 1, 8*1024, 1)
	if ok, stale, err := NewHasher().Verify(t.Context(), phc, "correct horse battery staple"); !ok || !stale || err != nil {
		t.Errorf("got %v, %v, %v, want right and stale", ok, stale, err)
	}
}

func TestDamagedHashIsAnError(t *testing.T) {
	for _, phc := range []string{"x", "$2b$10$abc", "$argon2id$v=19$m=99999999,t=2,p=1$YWFhYQ$YWFhYWFhYWFhYWFhYWFhYQ", "$argon2id$v=19$m=19456,t=0,p=1$YWFhYQ$YWFhYWFhYWFhYWFhYWFhYQ", "$argon2id$v=19$m=19456,t=2,p=1$YWFhYQ$YQ"} {
		if ok, _, err := NewHasher().Verify(t.Context(), phc, "x"); ok || err == nil {
			t.Errorf("%q: got %v, %v, want an error", phc, ok, err)
		}
	}
}

func TestWaitingIsBounded(t *testing.T) {
	h := NewHasher()
	h.slots = make(chan struct{}) // nobody ever gets in
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	for range maxWaiting + 1 {
		go func() { _, err := h.Hash(ctx, "x"); errs <- err }()
	}
	if err := <-errs; !errors.Is(err, ErrBusy) {
		t.Errorf("the one too many: got %v, want ErrBusy", err)
	}
	cancel()
	for range maxWaiting {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	}
}

func TestPolicy(t *testing.T) {
	for _, test := range []struct {
		name, password string
		least          int
		ok             bool
	}{
		{"C01 it refuses 14 characters", "xk7 vqpl zw3 m", 0, false},
		{"C01 it takes 15 characters", "xk7 vqpl zw3 mq", 0, true},
		{"C01 it refuses 7 where 8 are configured", "xk7vq2l", 8, false},
		{"C01 it takes 8 where 8 are configured", "xk7vq2lz", 8, true},
		{"C02 it takes 256 characters", strings.Repeat("longer and ", 23) + "lon", 0, true},
		{"C03 it takes a lower-case phrase", "seven quiet lamps above the harbour", 0, true},
		{"C04 it refuses a known one", "password1234567", 0, false},
		{"C04 it refuses one character repeated", "aaaaaaaaaaaaaaaa", 0, false},
		{"C04 it refuses a walk over the keyboard", "qwertyuiopasdfgh", 0, false},
		{"C05 it refuses product and address", "posternjane.doeexample", 0, false},
		{"it refuses what is not text", "\xff\xfe" + strings.Repeat("k7v q", 5), 0, false},
		{"it refuses what is longer than the bound", strings.Repeat("k7v q", 300), 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := Policy{MinLength: test.least}.Check(test.password, "jane.doe@example.com")
			var invalid *registry.InvalidError
			if (err == nil) != test.ok || err != nil && (!errors.As(err, &invalid) || strings.Contains(err.Error(), test.password)) {
				t.Errorf("got %v, want ok %v", err, test.ok)
			}
		})
	}
}
