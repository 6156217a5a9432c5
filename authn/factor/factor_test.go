package factor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/factor"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// A desk has two nodes on one store, with a clock that the test moves.
type desk struct {
	*factor.Factors
	second *factor.Factors
	store  *store.Store
	file   string
	ann    registry.User
	bob    registry.User
	now    time.Time
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{file: filepath.Join(t.TempDir(), "p.db"), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	var err error
	if d.store, err = store.Open(t.Context(), "sqlite:"+d.file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.store.Close() })
	r := &registry.Registry{Store: d.store, Now: time.Now, NewID: uuid.NewString}
	for name, u := range map[string]*registry.User{"ann": &d.ann, "bob": &d.bob} {
		if *u, err = r.CreateUser(t.Context(), "", registry.User{Username: name}); err != nil {
			t.Fatal(err)
		}
	}
	d.Factors, d.second = d.node(t, [32]byte{1}), d.node(t, [32]byte{1})
	return d
}

func (d *desk) node(t testing.TB, key [32]byte) *factor.Factors {
	t.Helper()
	f, err := factor.New(factor.Config{Store: d.store, Key: key, Now: func() time.Time { return d.now }, RPID: party.ID, Origins: []string{party.Origin}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// enrol gives ann a generator, whose code of the step before now is used.
func (d *desk) enrol(t testing.TB) (secret string, recovery []string) {
	t.Helper()
	made, err := d.BeginTOTP(t.Context(), d.ann)
	if err != nil {
		t.Fatal(err)
	}
	if recovery, err = d.ConfirmTOTP(t.Context(), d.ann.ID, d.code(t, made.Secret, -1)); err != nil {
		t.Fatal(err)
	}
	return made.Secret, recovery
}

func (d *desk) code(t testing.TB, secret string, steps int) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, d.now.Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shows reports whether a proof is taken; any error but the refusal fails.
func (d *desk) shows(t testing.TB, by *factor.Factors, user registry.UserID, p authn.Proof) bool {
	t.Helper()
	_, err := by.Check(context.WithoutCancel(t.Context()), user, p)
	var refused *authn.RefusedError
	if err != nil && (!errors.As(err, &refused) || refused.Reason != registry.ReasonSecondFactorWrong) {
		t.Errorf("got %v, want it taken or refused", err)
	}
	return err == nil
}

func TestEnrolment(t *testing.T) {
	d := newDesk(t)
	old, err := d.BeginTOTP(t.Context(), d.ann)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(old.URL)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Postern:ann" || u.Query().Get("secret") != old.Secret || len(old.Secret) != 32 {
		t.Errorf("got %q, want an otpauth URL with 160 bits", old.URL)
	}
	if methods, err := d.Methods(t.Context(), d.ann.ID); len(methods) != 0 || err != nil {
		t.Errorf("before it is confirmed: %v, %v", methods, err)
	}
	if d.shows(t, d.Factors, d.ann.ID, authn.Proof{Code: d.code(t, old.Secret, 0)}) {
		t.Error("an unconfirmed generator lets in")
	}
	next, err := d.BeginTOTP(t.Context(), d.ann)
	if err != nil || next.Secret == old.Secret {
		t.Fatalf("begin anew: %v", err)
	}
	var invalid *registry.InvalidError
	if _, err := d.ConfirmTOTP(t.Context(), d.ann.ID, d.code(t, old.Secret, 0)); !errors.As(err, &invalid) {
		t.Errorf("a code of the replaced secret: got %v", err)
	}
	codes, err := d.ConfirmTOTP(t.Context(), d.ann.ID, d.code(t, next.Secret, 0))
	if err != nil || len(codes) != 10 {
		t.Fatalf("confirm: %v, %v", codes, err)
	}
	if _, err := d.BeginTOTP(t.Context(), d.ann); !errors.Is(err, registry.ErrExists) {
		t.Errorf("begin over a confirmed one: got %v", err)
	}
	if _, err := d.ConfirmTOTP(t.Context(), d.ann.ID, d.code(t, next.Secret, 1)); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("confirm twice: got %v", err)
	}
	if d.shows(t, d.Factors, d.ann.ID, authn.Proof{Code: d.code(t, next.Secret, 0)}) {
		t.Error("C20: the code of the confirmation lets in as well")
	}
	if methods, _ := d.Methods(t.Context(), d.ann.ID); strings.Join(methods, " ") != "totp recovery" {
		t.Errorf("methods: %v", methods)
	}
}

// RFC 6238 appendix B, SHA-1, the last six of eight digits.
func TestVectors(t *testing.T) {
	d := newDesk(t)
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		d.now = time.Unix(at, 0)
		if err := d.store.DropFactors(t.Context(), d.ann.ID); err != nil {
			t.Fatal(err)
		}
		factor.InsertSecret(t, d.Factors, d.ann.ID, []byte("12345678901234567890"))
		if _, err := d.ConfirmTOTP(t.Context(), d.ann.ID, want); err != nil {
			t.Errorf("at %d: %s is refused: %v", at, want, err)
		}
	}
}

// C20: the window is one step, and each code is good once.
func TestCodes(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []int // of the codes that are shown in turn
		want  string
	}{
		{"takes the code of now", []int{0}, "+"}, {"takes the next code", []int{1}, "+"},
		{"refuses the code after next", []int{2}, "-"}, {"refuses an old code", []int{-2}, "-"},
		{"refuses a code twice", []int{0, 0}, "+-"}, {"takes the next one after", []int{0, 1}, "++"},
		{"refuses an earlier one after a later", []int{1, 0}, "+-"},
		{"refuses that of the confirmation", []int{-1}, "-"},
	} {
		d := newDesk(t)
		secret, _ := d.enrol(t)
		got := ""
		for _, s := range c.steps {
			if d.shows(t, d.Factors, d.ann.ID, authn.Proof{Code: d.code(t, secret, s)}) {
				got += "+"
			} else {
				got += "-"
			}
		}
		if got != c.want {
			t.Errorf("it %s: got %s, want %s", c.name, got, c.want)
		}
	}
	d := newDesk(t)
	secret, _ := d.enrol(t)
	code := d.code(t, secret, 0)
	for _, wrong := range []authn.Proof{{}, {Code: code[:5]}, {Code: code + "0"}, {Code: code, RecoveryCode: "x"}, {RecoveryCode: code}, {Code: "      "}} {
		if d.shows(t, d.Factors, d.ann.ID, wrong) {
			t.Errorf("it takes %+v", wrong)
		}
	}
	if d.shows(t, d.Factors, d.bob.ID, authn.Proof{Code: code}) {
		t.Error("it takes ann's code for bob")
	}
	if !d.shows(t, d.Factors, d.ann.ID, authn.Proof{Code: code[:3] + " " + code[3:]}) {
		t.Error("it refuses a code as apps show it")
	}
}

// together counts how many of many callers on two nodes are let in.
func (d *desk) together(t *testing.T, p authn.Proof) (won int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			by := d.Factors
			if i%2 == 0 {
				by = d.second
			}
			if d.shows(t, by, d.ann.ID, p) {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return won
}

func TestOneWinner(t *testing.T) {
	d := newDesk(t)
	secret, recovery := d.enrol(t)
	if won := d.together(t, authn.Proof{Code: d.code(t, secret, 0)}); won != 1 {
		t.Errorf("C20: one code lets %d in", won)
	}
	if won := d.together(t, authn.Proof{RecoveryCode: recovery[0]}); won != 1 {
		t.Errorf("C21: one recovery code lets %d in", won)
	}
}

// C21.
func TestRecoveryCodes(t *testing.T) {
	d := newDesk(t)
	_, codes := d.enrol(t)
	seen := map[string]bool{}
	for _, c := range codes {
		if len(c) != 23 || seen[c] {
			t.Errorf("code %q: want 20 letters in groups, each another", c)
		}
		seen[c] = true
	}
	if d.shows(t, d.Factors, d.bob.ID, authn.Proof{RecoveryCode: codes[1]}) {
		t.Error("ann's code lets bob in")
	}
	if !d.shows(t, d.second, d.ann.ID, authn.Proof{RecoveryCode: " " + strings.ToLower(strings.ReplaceAll(codes[1], "-", ""))}) {
		t.Error("a code without its dashes is refused")
	}
	if d.shows(t, d.Factors, d.ann.ID, authn.Proof{RecoveryCode: codes[1]}) {
		t.Error("a code is taken twice")
	}
	next, err := d.NewRecoveryCodes(t.Context(), d.ann.ID)
	if err != nil || len(next) != 10 {
		t.Fatalf("new ones: %v", err)
	}
	if d.shows(t, d.Factors, d.ann.ID, authn.Proof{RecoveryCode: codes[2]}) {
		t.Error("a replaced code lets in")
	}
	if err := d.DeleteTOTP(t.Context(), d.ann.ID); err != nil {
		t.Fatal(err)
	}
	if d.shows(t, d.Factors, d.ann.ID, authn.Proof{RecoveryCode: next[0]}) {
		t.Error("a code lets in after the last factor has gone")
	}
	if n, err := d.store.RecoveryCodes(t.Context(), d.ann.ID); n != 0 || err != nil {
		t.Errorf("after the last factor has gone there are %d codes, %v", n, err)
	}
	if _, err := d.NewRecoveryCodes(t.Context(), d.ann.ID); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("new ones without a factor: got %v", err)
	}
}

// Nothing in the database lets anybody in, nor can it be moved to another
// account or read under another key.
func TestWhatIsKept(t *testing.T) {
	d := newDesk(t)
	secret, codes := d.enrol(t)
	kept, err := d.store.TOTP(t.Context(), d.ann.ID)
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	for _, suffix := range []string{"", "-wal"} {
		part, err := os.ReadFile(d.file + suffix)
		if err != nil && suffix == "" {
			t.Fatal(err)
		}
		file = append(file, part...)
	}
	if !bytes.Contains(file, kept.Sealed) {
		t.Fatal("the test does not see what is kept")
	}
	for _, s := range append([]string{secret, factor.RawSecret(t, secret)}, codes...) {
		for _, form := range []string{s, strings.ReplaceAll(s, "-", "")} {
			if bytes.Contains(file, []byte(form)) {
				t.Error("a secret stands in the database")
			}
		}
	}
	if err := d.store.InsertTOTP(t.Context(), registry.TOTP{User: d.bob.ID, Sealed: kept.Sealed, CreatedAt: d.now}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ConfirmTOTP(t.Context(), d.bob.ID, d.code(t, secret, 0)); err == nil || errors.As(err, new(*registry.InvalidError)) {
		t.Errorf("a row that was copied to another account opens: %v", err)
	}
	other := d.node(t, [32]byte{2})
	if _, err := other.Check(t.Context(), d.ann.ID, authn.Proof{Code: d.code(t, secret, 0)}); err == nil || errors.Is(err, authn.ErrUnauthenticated) {
		t.Errorf("another key opens it: %v", err)
	}
	if d.shows(t, other, d.ann.ID, authn.Proof{RecoveryCode: codes[0]}) {
		t.Error("another key knows the recovery codes")
	}
}

func TestSites(t *testing.T) {
	for id, want := range map[string]bool{"": true, "localhost": true, "postern.example": true, "192.0.2.1": false, "a.example:8443": false} {
		_, err := factor.New(factor.Config{Now: time.Now, RPID: id, Origins: []string{"https://" + id}})
		if (err == nil) != want {
			t.Errorf("%q: got %v", id, err)
		}
	}
	d := newDesk(t)
	f, err := factor.New(factor.Config{Store: d.store, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.BeginPasskey(t.Context(), d.ann); !errors.As(err, new(*registry.InvalidError)) {
		t.Errorf("a passkey of a site without a host: got %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	d := newDesk(f)
	_, _ = d.enrol(f)
	a := newAuthenticator()
	d.register(f, a)
	options, err := d.Challenge(f.Context(), d.ann)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("123456", "", []byte(nil))
	f.Add("", "ABCDE-FGHIJ-KLMNO-PQRST", []byte(nil))
	a.Authenticator.Options.UserNotVerified = true
	f.Add("", "", []byte(a.get(f, party, options)))
	f.Fuzz(func(t *testing.T, code, recovery string, passkey []byte) {
		taken := d.shows(t, d.Factors, d.ann.ID, authn.Proof{Code: code, RecoveryCode: recovery, Passkey: json.RawMessage(passkey)})
		if guessed := len(strings.ReplaceAll(code, " ", "")) == 6; taken && !guessed {
			t.Errorf("%q %q %q is taken", code, recovery, passkey)
		}
	})
}

// party is the site as an authenticator knows it.
var party = virtualwebauthn.RelyingParty{ID: "postern.example", Name: "Postern", Origin: "https://postern.example"}
