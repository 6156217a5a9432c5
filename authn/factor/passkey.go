package factor

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/postern-io/postern/registry"
)

const (
	// MaxPasskeys is how many passkeys one person may have.
	MaxPasskeys = 10
	// challengeLife is how long the person may take at the authenticator.
	challengeLife = 5 * time.Minute
	// maxAnswer bounds what an authenticator may answer, attestation included.
	maxAnswer = 64 << 10
	// maxCredentialID is the longest credential id (WebAuthn §4).
	maxCredentialID = 1023
	maxPasskeyName  = 64 // characters
)

// ceremonies, WebAuthn §7.
const (
	registering    = "create"
	authenticating = "get"
)

// kept is the data of a challenge, which is a one-time key: the hash of the
// challenge finds it.
type kept struct {
	Ceremony string               `json:"ceremony"`
	Session  webauthn.SessionData `json:"session"`
}

// BeginPasskey returns the argument of navigator.credentials.create(), as JSON.
// Its challenge is good for five minutes and one answer, and makes an earlier
// one of the user worthless.
//
// Errors: a *registry.InvalidError when this site can have no passkeys, or the
// user no more.
func (f *Factors) BeginPasskey(ctx context.Context, user registry.User) (json.RawMessage, error) {
	if f.web == nil {
		return nil, &registry.InvalidError{Field: "passkey", Reason: "is not possible here: the public URL has no host name, or is not HTTPS"}
	}
	owner, err := f.owner(ctx, user)
	if err != nil {
		return nil, err
	}
	if len(owner.keys) >= MaxPasskeys {
		return nil, &registry.InvalidError{Field: "passkey", Reason: fmt.Sprintf("is one too many; delete one of the %d first", MaxPasskeys)}
	}
	options, session, err := f.web.BeginRegistration(owner, webauthn.WithExclusions(webauthn.Credentials(owner.credentials).CredentialDescriptors()))
	if err != nil {
		return nil, fmt.Errorf("begin a passkey of user %s: %w", user.ID, err)
	}
	return f.challenge(ctx, user.ID, kept{registering, *session}, options)
}

// ConfirmPasskey takes what navigator.credentials.create() returned and makes it
// a factor of the user. When it is the first factor, it returns recovery codes,
// the only time. The name is for people to read.
//
// Errors: a *registry.InvalidError for an answer that will not do, a
// *registry.ExistsError for a credential that is known.
func (f *Factors) ConfirmPasskey(ctx context.Context, user registry.User, name string, answer json.RawMessage) (p registry.Passkey, recovery []string, err error) {
	name = strings.TrimSpace(name)
	if name == "" || len([]rune(name)) > maxPasskeyName || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return p, nil, &registry.InvalidError{Field: "name", Reason: fmt.Sprintf("must have 1 to %d characters", maxPasskeyName)}
	}
	refused := &registry.InvalidError{Field: "passkey", Reason: "is no answer to the challenge that was given last"}
	if f.web == nil || len(answer) > maxAnswer {
		return p, nil, refused
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return p, nil, errors.Join(refused, err)
	}
	session, err := f.answered(ctx, user.ID, registering, parsed.Response.CollectedClientData.Challenge)
	if errors.Is(err, registry.ErrNotFound) {
		return p, nil, refused
	}
	if err != nil {
		return p, nil, err
	}
	credential, err := f.web.CreateCredential(&owner{user: user}, session, parsed)
	if err != nil {
		return p, nil, errors.Join(refused, err)
	}
	if len(credential.ID) == 0 || len(credential.ID) > maxCredentialID {
		return p, nil, refused
	}
	credential.Attestation = webauthn.CredentialAttestation{} // which we asked nobody for
	text, err := json.Marshal(credential)
	if err != nil {
		return p, nil, err
	}
	p = registry.Passkey{ID: passkeyID(credential.ID), User: user.ID, Name: name, Credential: string(text), CreatedAt: f.now()}
	codes, hashes := f.newCodes(user.ID)
	first, err := f.store.InsertPasskey(ctx, p, MaxPasskeys, hashes)
	if err != nil || !first {
		return p, nil, err
	}
	return p, codes, nil
}

// DeletePasskey removes a passkey of the user, and the recovery codes with the
// last factor. It is registry.ErrNotFound when the user has no such passkey.
func (f *Factors) DeletePasskey(ctx context.Context, user registry.UserID, id string) error {
	return f.store.DeletePasskey(ctx, user, id)
}

// Challenge returns the argument of navigator.credentials.get(), as JSON, for a
// sign-in that waits for its second factor. For its life see BeginPasskey. It is
// registry.ErrNotFound when the user has no passkey.
func (f *Factors) Challenge(ctx context.Context, user registry.User) (json.RawMessage, error) {
	o, err := f.owner(ctx, user)
	if err != nil {
		return nil, err
	}
	if f.web == nil || len(o.keys) == 0 {
		return nil, fmt.Errorf("passkeys of user %s: %w", user.ID, registry.ErrNotFound)
	}
	options, session, err := f.web.BeginLogin(o)
	if err != nil {
		return nil, fmt.Errorf("challenge user %s: %w", user.ID, err)
	}
	return f.challenge(ctx, user.ID, kept{authenticating, *session}, options)
}

// challenge keeps a challenge and returns the options that hold it.
func (f *Factors) challenge(ctx context.Context, user registry.UserID, k kept, options any) (json.RawMessage, error) {
	data, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	if err := f.store.DropKeys(ctx, user, registry.KeyPasskey); err != nil {
		return nil, err
	}
	now := f.now()
	return text, f.store.InsertKey(ctx, registry.OneTimeKey{
		Hash: sha256.Sum256([]byte(k.Session.Challenge)), Purpose: registry.KeyPasskey, User: user, Data: string(data),
		Created: now, Expires: now.Add(challengeLife),
	})
}

// answered uses a challenge up, before anything of the answer is believed: the
// library would take the same answer again (C23). It is registry.ErrNotFound for
// a challenge that was not given, not to this user, or not for this.
func (f *Factors) answered(ctx context.Context, user registry.UserID, ceremony, challenge string) (webauthn.SessionData, error) {
	key, err := f.store.UseKey(ctx, sha256.Sum256([]byte(challenge)), registry.KeyPasskey, f.now())
	if err != nil {
		return webauthn.SessionData{}, err
	}
	var k kept
	if err := json.Unmarshal([]byte(key.Data), &k); err != nil {
		return webauthn.SessionData{}, fmt.Errorf("challenge of user %s: %w", key.User, err)
	}
	if key.User != user || k.Ceremony != ceremony {
		return webauthn.SessionData{}, registry.ErrNotFound
	}
	return k.Session, nil
}

// checkPasskey takes the answer to a challenge, once.
func (f *Factors) checkPasskey(ctx context.Context, user registry.UserID, answer json.RawMessage) error {
	if f.web == nil || len(answer) > maxAnswer {
		return wrong()
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return errors.Join(wrong(), err)
	}
	session, err := f.answered(ctx, user, authenticating, parsed.Response.CollectedClientData.Challenge)
	if err != nil {
		return orWrong(err)
	}
	o, err := f.owner(ctx, registry.User{ID: user})
	if err != nil {
		return err
	}
	// One deleted since the challenge was given is no longer allowed, and must
	// not keep the others out: the library wants all that were to be there still.
	session.AllowedCredentialIDs = o.ids()
	credential, err := f.web.ValidateLogin(o, session, parsed)
	if err != nil {
		return errors.Join(wrong(), err)
	}
	if credential.Authenticator.CloneWarning {
		return errors.Join(wrong(), fmt.Errorf("passkey %s: the signature counter went back to %d", passkeyID(credential.ID), parsed.Response.AuthenticatorData.Counter))
	}
	text, err := json.Marshal(credential)
	if err != nil {
		return err
	}
	p := o.keys[passkeyID(credential.ID)]
	before := p.Credential
	p.Credential, p.LastUsed = string(text), f.now()
	return orWrong(f.store.UsePasskey(ctx, p, before))
}

func passkeyID(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

// An owner is a webauthn.User.
type owner struct {
	user        registry.User
	keys        map[string]registry.Passkey // by id
	credentials []webauthn.Credential
}

// owner reads the passkeys of a user.
func (f *Factors) owner(ctx context.Context, user registry.User) (*owner, error) {
	keys, err := f.store.Passkeys(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	o := &owner{user: user, keys: map[string]registry.Passkey{}}
	for _, k := range keys {
		var c webauthn.Credential
		if err := json.Unmarshal([]byte(k.Credential), &c); err != nil {
			return nil, fmt.Errorf("passkey %s of user %s: %w", k.ID, user.ID, err)
		}
		o.keys[k.ID], o.credentials = k, append(o.credentials, c)
	}
	return o, nil
}

func (o *owner) ids() (ids [][]byte) {
	for _, c := range o.credentials {
		ids = append(ids, c.ID)
	}
	return ids
}

func (o *owner) WebAuthnID() []byte                         { return []byte(o.user.ID) }
func (o *owner) WebAuthnName() string                       { return o.user.Username }
func (o *owner) WebAuthnDisplayName() string                { return o.user.Username }
func (o *owner) WebAuthnCredentials() []webauthn.Credential { return o.credentials }
