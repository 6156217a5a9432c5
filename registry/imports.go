package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"path"
	"strings"
	"time"
)

// An ImportedAuthority is an authority of somebody else whose certificates name
// devices of one domain. Identity is (authority, name): the same name from two
// of them is two Principals.
type ImportedAuthority struct {
	ID      AuthorityID // the fingerprint of its certificate
	Domain  DomainID
	Name    string
	DER     []byte // its certificate
	KeyHash string // SHA-256 of its public key, hexadecimal: one key vouches in one domain
	Status  ImportStatus
	Source  NameSource
	Arrival Arrival

	LongestLife time.Duration // of a certificate of a device; 0: any
	ListURL     string        // where its CRL is fetched; "": nowhere
	StaleList   StalePolicy

	Nonce       string    // what the proof of possession says
	ProvedAt    time.Time // zero when never
	OverrideBy  UserID    // who let it in without proof, and why; "" when nobody did
	OverrideWhy string

	CreatedBy UserID
	CreatedAt time.Time
	UpdatedBy UserID
	UpdatedAt time.Time
}

// An ImportStatus is the state of an imported authority.
type ImportStatus string

// The states. An authority that is not ImportEnabled vouches for nobody.
const (
	ImportUnproved ImportStatus = "unproved"
	ImportEnabled  ImportStatus = "enabled"
	ImportDisabled ImportStatus = "disabled"
)

// A NameSource says where the certificates of an authority name the device.
type NameSource string

// The sources. All but NameCommon lead to a device by themselves; what the
// authority's name then is, is the device's id.
const (
	NameSecret NameSource = "cn_secret" // the common name is a secret of the device
	NameID     NameSource = "cn_id"     // the common name is its id
	NameURI    NameSource = "san_uri"   // urn:postern:<domain>:<device>
	NameCommon NameSource = "name"      // the common name is any name, bound to a device by a person or at its arrival
)

// A StalePolicy says what becomes of the certificates of an authority whose CRL
// is past its next update, or was never got.
type StalePolicy string

// The policies; an alarm there is with both.
const (
	StaleRefuse StalePolicy = "refuse"
	StaleWarn   StalePolicy = "warn"
)

// An Arrival says what becomes of a name that is heard for the first time. Only
// an authority with the source NameCommon has one.
type Arrival struct {
	Register   bool           `json:"register,omitempty"`    // a device is made, which waits for approval
	MaxPending int            `json:"max_pending,omitempty"` // how many may wait at once
	Approve    string         `json:"approve,omitempty"`     // names that match are approved at once (path.Match); "": none
	Tags       []string       `json:"tags,omitempty"`        // what approved ones get
	Grants     []ChannelGrant `json:"grants,omitempty"`
}

// A ChannelGrant is what a device may do on a channel.
type ChannelGrant struct {
	Channel ChannelID `json:"channel"`
	Rights  Rights    `json:"rights"`
}

// A Principal is who an authority means by a name.
type Principal struct {
	Authority AuthorityID
	Name      string // with the source NameCommon the common name, otherwise the device's id
	Domain    DomainID
	Device    DeviceID
	CreatedAt time.Time
}

// Bounds of what is imported.
const (
	MaxImported      = 50      // authorities of a domain
	MaxPendingLimit  = 100_000 // devices of one authority that may wait
	maxListURL       = 2048    // bytes
	maxImportedDER   = 16 << 10
	maxOverrideWhy   = 1000 // characters
	maxGrants        = 32
	longestLifeBound = 200 * 365 * 24 * time.Hour
)

// Vouches reports whether certificates of the authority count.
func (a ImportedAuthority) Vouches() bool { return a.Status == ImportEnabled }

// ImportAuthority keeps an authority for a domain. It vouches for nobody until
// its possession is proved. A key that vouches already, here or in another domain, is an
// *ExistsError.
func (r *Registry) ImportAuthority(ctx context.Context, by UserID, domain DomainID, a ImportedAuthority) (ImportedAuthority, error) {
	a.Domain, a.Status, a.Nonce = domain, ImportUnproved, rand.Text()+rand.Text()
	a.ProvedAt, a.OverrideBy, a.OverrideWhy = time.Time{}, "", ""
	a.CreatedBy, a.UpdatedBy = by, by
	a.CreatedAt = r.now()
	a.UpdatedAt = a.CreatedAt
	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		if err := a.settle(ctx, tx); err != nil {
			return nil, err
		}
		there, err := tx.ImportedAuthorities(ctx, domain)
		if err != nil {
			return nil, err
		}
		if len(there) >= MaxImported {
			return nil, &InvalidError{Field: "authorities", Reason: "must be at most 50 in a domain"}
		}
		if err := unclaimed(ctx, tx, a.KeyHash); err != nil {
			return nil, err
		}
		return nil, tx.InsertImported(ctx, a)
	})
	if err != nil {
		return ImportedAuthority{}, err
	}
	return a, nil
}

// unclaimed refuses a key that vouches already. One that is unproved claims
// nothing: a stranger could keep the owner out by it.
func unclaimed(ctx context.Context, tx Tx, keyHash string) error {
	claimed, err := tx.KeyClaimed(ctx, keyHash)
	if err == nil && claimed {
		err = &ExistsError{Field: "authority"}
	}
	return err
}

// ImportedAuthorities returns those of a domain, by name.
func (r *Registry) ImportedAuthorities(ctx context.Context, domain DomainID) ([]ImportedAuthority, error) {
	return r.Store.ImportedAuthorities(ctx, domain)
}

// ImportedAuthority returns one of the domain; in another it does not exist.
func (r *Registry) ImportedAuthority(ctx context.Context, domain DomainID, id AuthorityID) (ImportedAuthority, error) {
	return r.Store.ImportedAuthority(ctx, domain, id)
}

// UpdateImported changes what edit changes: Name, LongestLife, ListURL,
// StaleList, Arrival.
func (r *Registry) UpdateImported(ctx context.Context, by UserID, domain DomainID, id AuthorityID, edit func(*ImportedAuthority) error) (ImportedAuthority, error) {
	return r.editImported(ctx, by, domain, id, r.inDomain, func(tx Tx, a *ImportedAuthority) error {
		b := *a
		if err := edit(&b); err != nil {
			return err
		}
		a.Name, a.LongestLife, a.ListURL, a.StaleList, a.Arrival = b.Name, b.LongestLife, b.ListURL, b.StaleList, b.Arrival
		return a.settle(ctx, tx)
	})
}

// ProveAuthority lets an authority vouch once check finds that its key signed
// the nonce. One that is proved stays as it is, and is an *InvalidError: a proof
// counts once.
func (r *Registry) ProveAuthority(ctx context.Context, by UserID, domain DomainID, id AuthorityID, check func(ImportedAuthority) error) (ImportedAuthority, error) {
	return r.editImported(ctx, by, domain, id, r.inDomain, func(tx Tx, a *ImportedAuthority) error {
		if a.Status != ImportUnproved {
			return errProved
		}
		if err := check(*a); err != nil {
			return err
		}
		a.ProvedAt, a.Status = r.now(), ImportEnabled
		return unclaimed(ctx, tx, a.KeyHash)
	})
}

var errProved = &InvalidError{Field: "authority", Reason: "is proved already"}

// OverrideProof lets an authority vouch on somebody's word.
func (r *Registry) OverrideProof(ctx context.Context, by UserID, domain DomainID, id AuthorityID, why string) (ImportedAuthority, error) {
	if strings.TrimSpace(why) == "" {
		return ImportedAuthority{}, &InvalidError{Field: "reason", Reason: "must say why no proof is needed"}
	}
	if err := checkText("reason", why, maxOverrideWhy); err != nil {
		return ImportedAuthority{}, err
	}
	return r.editImported(ctx, by, domain, id, r.inDomain, func(tx Tx, a *ImportedAuthority) error {
		if a.Status != ImportUnproved {
			return errProved
		}
		a.OverrideBy, a.OverrideWhy, a.Status = by, why, ImportEnabled
		return unclaimed(ctx, tx, a.KeyHash)
	})
}

// EnableAuthority lets an authority that was disabled vouch again.
func (r *Registry) EnableAuthority(ctx context.Context, by UserID, domain DomainID, id AuthorityID) (ImportedAuthority, error) {
	return r.switchAuthority(ctx, by, domain, id, r.inDomain, ImportEnabled)
}

// DisableAuthority ends the sessions of an authority's certificates; none opens a
// new one. It works in a frozen domain too: it takes away, and gives nothing.
func (r *Registry) DisableAuthority(ctx context.Context, by UserID, domain DomainID, id AuthorityID) (ImportedAuthority, error) {
	return r.switchAuthority(ctx, by, domain, id, r.lockedDomain, ImportDisabled)
}

func (r *Registry) switchAuthority(ctx context.Context, by UserID, domain DomainID, id AuthorityID, in transact, to ImportStatus) (ImportedAuthority, error) {
	return r.editImported(ctx, by, domain, id, in, func(_ Tx, a *ImportedAuthority) error {
		if a.Status == ImportUnproved {
			return &InvalidError{Field: "authority", Reason: "is not proved, so it vouches for nobody; prove it first"}
		}
		a.Status = to
		return nil
	})
}

// DeleteImported removes an authority with its principals and its list. The
// devices stay.
func (r *Registry) DeleteImported(ctx context.Context, domain DomainID, id AuthorityID) error {
	return r.lockedDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		return []Change{{Domain: domain, Authority: id, Gone: true}}, tx.DeleteImported(ctx, domain, id)
	})
}

// transact is inDomain or lockedDomain.
type transact func(context.Context, DomainID, func(Tx) ([]Change, error)) error

// lockedDomain is inDomain for what may be done in a frozen domain too.
func (r *Registry) lockedDomain(ctx context.Context, id DomainID, do func(Tx) ([]Change, error)) error {
	return r.update(ctx, func(tx Tx) ([]Change, error) {
		if _, err := tx.LockDomain(ctx, id); err != nil {
			return nil, err
		}
		return do(tx)
	})
}

func (r *Registry) editImported(ctx context.Context, by UserID, domain DomainID, id AuthorityID, in transact, edit func(Tx, *ImportedAuthority) error) (ImportedAuthority, error) {
	var a ImportedAuthority
	err := in(ctx, domain, func(tx Tx) (_ []Change, err error) {
		if a, err = tx.ImportedAuthority(ctx, domain, id); err != nil {
			return nil, err
		}
		if err := edit(tx, &a); err != nil {
			return nil, err
		}
		a.UpdatedBy, a.UpdatedAt = by, r.now()
		return []Change{{Domain: domain, Authority: id}}, tx.UpdateImported(ctx, a)
	})
	if err != nil {
		return ImportedAuthority{}, err
	}
	return a, nil
}

// settle checks an authority, and fills in what was left out.
func (a *ImportedAuthority) settle(ctx context.Context, from ChannelReader) error {
	if err := checkName(a.Name, true); err != nil {
		return err
	}
	if a.StaleList == "" {
		a.StaleList = StaleRefuse
	}
	switch {
	case len(a.DER) == 0 || len(a.DER) > maxImportedDER:
		return &InvalidError{Field: "certificate", Reason: "must have at most 16 KiB"}
	case a.Source != NameSecret && a.Source != NameID && a.Source != NameURI && a.Source != NameCommon:
		return &InvalidError{Field: "source", Reason: "must be cn_secret, cn_id, san_uri or name"}
	case a.StaleList != StaleRefuse && a.StaleList != StaleWarn:
		return &InvalidError{Field: "stale_list", Reason: "must be refuse or warn"}
	case a.LongestLife < 0 || a.LongestLife > longestLifeBound:
		return &InvalidError{Field: "longest_life", Reason: "must not be negative, nor above 200 years"}
	}
	if err := checkListURL(a.ListURL); err != nil {
		return err
	}
	return a.Arrival.settle(ctx, from, a.Domain, a.Source)
}

func checkListURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > maxListURL || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return &InvalidError{Field: "crl_url", Reason: "must be a URL such as http://pki.example.com/ca.crl, without a user or a fragment"}
	}
	return nil
}

func (v *Arrival) settle(ctx context.Context, from ChannelReader, domain DomainID, source NameSource) error {
	if !v.Register {
		if v.Approve != "" || len(v.Tags) > 0 || len(v.Grants) > 0 || v.MaxPending != 0 {
			return &InvalidError{Field: "register", Reason: "must be true where something is said about new devices"}
		}
		return nil
	}
	if v.MaxPending == 0 {
		v.MaxPending = 1000
	}
	v.Tags = unique(v.Tags)
	if err := errors.Join(checkTags(v.Tags), checkText("approve", v.Approve, MaxName)); err != nil {
		return err
	}
	_, err := path.Match(v.Approve, "")
	switch {
	case source != NameCommon:
		return &InvalidError{Field: "register", Reason: "goes with the source name only: the others name devices that are there"}
	case v.MaxPending < 1 || v.MaxPending > MaxPendingLimit:
		return &InvalidError{Field: "max_pending", Reason: "must be 1 to 100000"}
	case err != nil:
		return &InvalidError{Field: "approve", Reason: "must be a pattern such as pump-*"}
	case v.Approve == "" && (len(v.Tags) > 0 || len(v.Grants) > 0):
		return &InvalidError{Field: "approve", Reason: "must say which devices get the tags and channels"}
	case len(v.Grants) > maxGrants:
		return &InvalidError{Field: "channels", Reason: "must be at most 32"}
	}
	for _, g := range v.Grants {
		if g.Rights == 0 || !(Publish | Subscribe).Has(g.Rights) {
			return &InvalidError{Field: "types", Reason: "must be publish or subscribe"}
		}
		ch, err := from.Channel(ctx, g.Channel)
		if errors.Is(err, ErrNotFound) || err == nil && ch.Domain != domain {
			return &InvalidError{Field: "channels", Reason: "must be channels of the domain"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
