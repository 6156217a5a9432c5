package registry

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// ClaimPrefix begins every claim token: it tells people, scanners and the
	// doors what the string is.
	ClaimPrefix = "pct_"
	// DefaultClaimLife is how long a claim is open when nothing else is said.
	DefaultClaimLife = 7 * 24 * time.Hour
	// MaxClaimLife is the longest that a claim may be open.
	MaxClaimLife = 365 * 24 * time.Hour
	// MaxClaimChannels is how many channels a claim may connect to.
	MaxClaimChannels = 32

	claimLength = len(ClaimPrefix) + 43 // 256 random bits
)

// A ClaimID names a claim; it is not its token.
type ClaimID string

// A Claim lets whoever holds its token become a device, once. Bound to a device
// that is there it gives that one a credential; otherwise it makes a device with
// Name, Tags, Metadata and Rights.
type Claim struct {
	ID        ClaimID
	Batch     string // shared by those that were made at once
	Domain    DomainID
	Hash      SecretHash // of the token
	Device    DeviceID   // it is bound to, or has made; "" before that
	Name      string
	Tags      []string
	Metadata  Metadata
	Rights    []ClaimRights // those of channels that were deleted are gone
	Expires   time.Time
	CreatedAt time.Time
	CreatedBy UserID
	UsedAt    time.Time // zero while it is open
	Request   string    // fingerprint of the signing request it was used with; "" for none
}

// ClaimRights is what the device may do on a channel.
type ClaimRights struct {
	Channel ChannelID
	Rights  Rights
}

// Status returns "open", "used" or "expired".
func (c Claim) Status(now time.Time) string {
	switch {
	case !c.UsedAt.IsZero():
		return "used"
	case !now.Before(c.Expires):
		return "expired"
	}
	return "open"
}

// A NewClaim is a claim with the one sight of its token.
type NewClaim struct {
	Claim
	Token Secret
}

// A ClaimError says why a claim token was refused. Strangers are not told which
// of the reasons it was.
type ClaimError struct{ Reason Reason }

func (e *ClaimError) Error() string { return string(e.Reason) }

// IsClaimToken reports whether a text has the form of a claim token.
func IsClaimToken(text string) bool {
	rest, ok := strings.CutPrefix(text, ClaimPrefix)
	if !ok || len(text) != claimLength {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	return err == nil
}

func newClaimToken() Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return Secret{ClaimPrefix + base64.RawURLEncoding.EncodeToString(b[:])}
}

// CreateClaims makes n claims, at most MaxBulk, all as c says: its Device, or
// its Name, Tags, Metadata and Rights; and Expires, which is DefaultClaimLife
// from now when it is zero.
//
// Errors: *InvalidError; ErrNotFound for a device or a channel that the domain
// does not have; ErrFrozen.
func (r *Registry) CreateClaims(ctx context.Context, by UserID, domain DomainID, n int, c Claim) ([]NewClaim, error) {
	if n < 1 || n > MaxBulk {
		return nil, &InvalidError{Field: "count", Reason: "must be 1 to 1000"}
	}
	now := r.now()
	c.Batch, c.Domain, c.CreatedBy, c.CreatedAt = r.NewID(), domain, by, now
	c.UsedAt, c.Request = time.Time{}, ""
	if err := c.settle(now); err != nil {
		return nil, err
	}
	made := make([]NewClaim, n)
	for i := range made {
		made[i] = NewClaim{Claim: c, Token: newClaimToken()}
		made[i].ID, made[i].Hash = ClaimID(r.NewID()), r.Hasher.Hash(made[i].Token)
	}
	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		if c.Device != "" {
			if _, err := deviceIn(ctx, tx, domain, c.Device); err != nil {
				return nil, err
			}
		}
		for _, m := range made {
			if err := tx.InsertClaim(ctx, m.Claim); err != nil {
				return nil, err
			}
		}
		for _, right := range c.Rights {
			if _, err := channelIn(ctx, tx, domain, right.Channel); err != nil {
				return nil, err
			}
			if err := tx.InsertClaimRights(ctx, c.Batch, right); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (c *Claim) settle(now time.Time) error {
	if c.Expires.IsZero() {
		c.Expires = now.Add(DefaultClaimLife)
	}
	c.Expires = c.Expires.UTC().Truncate(time.Microsecond)
	switch {
	case !c.Expires.After(now):
		return &InvalidError{Field: "expires_at", Reason: "must be in the future"}
	case c.Expires.After(now.Add(MaxClaimLife)):
		return &InvalidError{Field: "expires_at", Reason: "must be within a year"}
	case len(c.Rights) > MaxClaimChannels:
		return &InvalidError{Field: "channels", Reason: fmt.Sprintf("must be at most %d", MaxClaimChannels)}
	}
	if c.Device != "" {
		id, err := ParseID(string(c.Device))
		if err != nil {
			return &InvalidError{Field: "client_id", Reason: "must be an id"}
		}
		if c.Name != "" || len(c.Tags) > 0 || len(c.Metadata) > 0 || len(c.Rights) > 0 {
			return &InvalidError{Field: "client_id", Reason: "must stand without name, tags, metadata and channels: the client has its own"}
		}
		c.Device = DeviceID(id)
	}
	d := c.newborn()
	if err := d.settle(); err != nil {
		return err
	}
	c.Tags = d.Tags
	seen := make(map[ChannelID]bool, len(c.Rights))
	c.Rights = slices.Clone(c.Rights)
	for i, right := range c.Rights {
		id, err := ParseID(string(right.Channel))
		switch {
		case err != nil:
			return &InvalidError{Field: "channels", Reason: "must be ids"}
		case right.Rights == 0 || right.Rights&^(Publish|Subscribe) != 0:
			return &InvalidError{Field: "types", Reason: "must be publish, subscribe or both"}
		case seen[ChannelID(id)]:
			return &InvalidError{Field: "channels", Reason: "must not name a channel twice"}
		}
		c.Rights[i].Channel, seen[ChannelID(id)] = ChannelID(id), true
	}
	return nil
}

// newborn is the device that the claim makes, without an id.
func (c Claim) newborn() Device {
	return Device{Domain: c.Domain, Name: c.Name, Tags: c.Tags, Metadata: c.Metadata, Status: Enabled, UpdatedBy: c.CreatedBy}
}

// A ClaimQuery selects a page of claims, the newest first.
type ClaimQuery struct {
	Domain DomainID
	Status string // "", "open", "used" or "expired"
	Offset int
	Limit  int       // 1 to MaxPage
	Now    time.Time // what Status is measured by; set by the Registry
}

// Claims lists the claims of a domain. Some time after their end they are gone.
func (r *Registry) Claims(ctx context.Context, q ClaimQuery) (List[Claim], error) {
	if err := (Query{Offset: q.Offset, Limit: q.Limit, Order: ByCreated}).Check(); err != nil {
		return List[Claim]{}, err
	}
	switch q.Status {
	case "", "open", "used", "expired":
	default:
		return List[Claim]{}, &InvalidError{Field: "status", Reason: "must be open, used or expired"}
	}
	q.Now = r.now()
	return r.Store.Claims(ctx, q)
}

// DeleteClaim takes a claim back: its token opens nothing any more. What it made
// stays.
func (r *Registry) DeleteClaim(ctx context.Context, domain DomainID, id ClaimID) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) { // in a frozen domain too: it takes away, and gives nothing
		if _, err := tx.LockDomain(ctx, domain); err != nil {
			return nil, err
		}
		return nil, tx.DeleteClaim(ctx, domain, id)
	})
}

// A ClaimUse is what somebody shows to become a device.
type ClaimUse struct {
	Token   Secret
	Device  DeviceID // whom it says it is; "": nobody. Only the device of the claim will do.
	Request string   // fingerprint of a signing request; "": a secret is wanted instead
	Sign    Signer   // makes the certificate of Request
}

// A Claimed is what a claim gave.
type Claimed struct {
	Device      Device
	Secret      Secret      // new, and not shown again; zero with a signing request
	Certificate Certificate // zero without one
}

// UseClaim makes a device, or gives the one that the claim is bound to a
// credential: a certificate for a signing request, otherwise a new secret in the
// place of those it has. The token is used up by it, all or nothing.
//
// Asked again with the same token and the same request, for as long as the claim
// would have been open, it returns the same certificate while that is good: a
// device that did not hear the answer asks again.
//
// Errors: a *ClaimError for a token that is unknown, used or expired, or for
// another device; ErrFrozen and ErrDisabled for the domain, or a device that is
// there; Sign's.
func (r *Registry) UseClaim(ctx context.Context, u ClaimUse) (Claimed, error) {
	hash := r.Hasher.Hash(u.Token)
	c, err := r.Store.ClaimByHash(ctx, hash)
	if err == nil {
		err = c.open(u, r.now())
	}
	var got Claimed
	if err == nil {
		err = r.inEnabledDomain(ctx, c.Domain, func(tx Tx) (changes []Change, err error) {
			// Once more, now that nobody else can use it.
			if c, err = tx.ClaimByHash(ctx, hash); err != nil {
				return nil, err
			}
			if err := c.open(u, r.now()); err != nil {
				return nil, err
			}
			got, changes, err = r.claim(ctx, tx, c, u)
			return changes, err
		})
	}
	if errors.Is(err, ErrNotFound) { // or its domain or device went away meanwhile
		err = &ClaimError{ReasonClaimUnknown}
	}
	if err != nil {
		return Claimed{}, err
	}
	return got, nil
}

// open tells whether the claim may be used so, or was already.
func (c Claim) open(u ClaimUse, now time.Time) error {
	again := u.Request != "" && u.Request == c.Request
	switch {
	case !now.Before(c.Expires):
		return &ClaimError{ReasonClaimExpired}
	case !c.UsedAt.IsZero() && !again:
		return &ClaimError{ReasonClaimUsed}
	case u.Device != "" && u.Device != c.Device:
		return &ClaimError{ReasonConflictingEvidence}
	}
	return nil
}

func (r *Registry) claim(ctx context.Context, tx Tx, c Claim, u ClaimUse) (got Claimed, changes []Change, err error) {
	if !c.UsedAt.IsZero() {
		got, err = r.claimedBefore(ctx, tx, c)
		return got, nil, err
	}
	now := r.now()
	if c.Device == "" {
		got.Device, changes, err = r.newborn(ctx, tx, c)
	} else {
		got.Device, err = deviceIn(ctx, tx, c.Domain, c.Device)
		changes = []Change{{Domain: c.Domain, Device: c.Device}}
	}
	if err != nil {
		return Claimed{}, nil, err
	}
	id := got.Device.ID
	switch {
	case got.Device.Status != Enabled:
		err = fmt.Errorf("device %w", ErrDisabled)
	case u.Request != "":
		as := Certificate{Domain: c.Domain, Device: id, Request: u.Request, CreatedBy: c.CreatedBy}
		got.Certificate, err = r.issue(ctx, tx, got.Device, as, u.Sign)
	default:
		got.Secret = NewSecret()
		err = r.replaceSecrets(ctx, tx, got.Device, got.Secret)
	}
	if err != nil {
		return Claimed{}, nil, err
	}
	c.Device, c.Request, c.UsedAt = id, u.Request, now
	return got, changes, tx.UpdateClaim(ctx, c)
}

// claimedBefore returns what the same request got.
func (r *Registry) claimedBefore(ctx context.Context, tx Tx, c Claim) (got Claimed, err error) {
	if got.Device, err = deviceIn(ctx, tx, c.Domain, c.Device); err != nil {
		return Claimed{}, err
	}
	if got.Device.Status != Enabled {
		return Claimed{}, fmt.Errorf("device %w", ErrDisabled)
	}
	got.Certificate, err = tx.CertificateFor(ctx, c.Device, c.Request, "", r.now())
	if errors.Is(err, ErrNotFound) { // revoked, or ended
		err = &ClaimError{ReasonClaimUsed}
	}
	return got, err
}

// newborn makes the device of a claim, with its connections.
func (r *Registry) newborn(ctx context.Context, tx Tx, c Claim) (Device, []Change, error) {
	d := c.newborn()
	d.ID, d.CreatedAt, d.UpdatedAt = DeviceID(r.NewID()), r.now(), r.now()
	if err := tx.InsertDevice(ctx, d); err != nil {
		return Device{}, nil, err
	}
	changes := []Change{{Domain: c.Domain, Device: d.ID}}
	for _, right := range c.Rights {
		if err := tx.AddRights(ctx, Connection{Domain: c.Domain, Device: d.ID, Channel: right.Channel, Rights: right.Rights}); err != nil {
			return Device{}, nil, err
		}
		changes = append(changes, Change{Domain: c.Domain, Device: d.ID, Channel: right.Channel})
	}
	return d, changes, nil
}

func (r *Registry) replaceSecrets(ctx context.Context, tx Tx, d Device, s Secret) error {
	old, err := tx.DeviceSecrets(ctx, d.ID)
	if err != nil {
		return err
	}
	for _, o := range old {
		if err := tx.DeleteSecret(ctx, o.ID); err != nil {
			return err
		}
	}
	return tx.InsertSecret(ctx, d.Domain, r.record(d.ID, s, r.now()))
}
