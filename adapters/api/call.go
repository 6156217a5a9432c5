package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

// A call is one request on its way through a route: who asks, and about what.
type call struct {
	request *http.Request
	id      string // of the request
	from    string // address of the caller
	route   route

	person authn.Person      // zero for nobody
	role   registry.Role     // of the person, in the domain when there is one
	domain registry.DomainID // of the path
	user   registry.UserID   // of the path
	self   bool              // the person does to itself what everybody may
	object string            // of the audit event, where the path does not tell

	details registry.Metadata // more for the audit event
}

// admit finds out who asks and whether they may.
func (s *Server) admit(ctx context.Context, rt route, c *call) error {
	r := c.request
	if err := s.application(r, rt.rules&seedForm != 0 && rt.need != anybody); err != nil {
		return err
	}
	// A browser adds cookies by itself, a token it does not: only a request
	// without one can be forged by another site.
	if _, err := bearer(r); errors.Is(err, errNoToken) {
		if err := new(http.CrossOriginProtection).Check(r); err != nil {
			return fmt.Errorf("%w: %w", errCrossOrigin, err)
		}
	}
	vouched, present, err := s.Users.FromRequest(ctx, r, c.where())
	if err != nil {
		return err
	}
	if present {
		c.person = vouched
	}
	if rt.need == anybody {
		return nil
	}
	if err := s.identify(ctx, c); err != nil {
		return err
	}
	own := rt.need == signedIn || c.pathID("user") == string(c.by())
	if c.person.Key != "" && own && r.Method != http.MethodGet && !strings.HasPrefix(rt.pattern, "/domains") {
		return errPersonOnly // an account is managed by its person, not by a program
	}
	if err := rt.open(c.person); err != nil {
		return err
	}
	c.role = c.person.User.Role
	c.user = registry.UserID(c.pathID("user"))
	c.self = rt.rules&orSelf != 0 && c.user == c.person.User.ID
	switch {
	case rt.need == signedIn, c.self:
		return nil
	case r.PathValue("domain") != "":
		return s.enter(ctx, rt.need, c)
	default:
		return s.People.Allow(ctx, c.person.User, rt.need, "")
	}
}

// open reports whether a route is open to somebody who must do something else
// first.
func (rt route) open(p authn.Person) error {
	switch {
	case p.Only == registry.ReasonPasswordMustChange && rt.rules&beforePassword == 0:
		return errPasswordFirst
	case p.Only == registry.ReasonSecondFactorEnrol && rt.rules&beforeFactor == 0:
		return errFactorFirst
	case rt.rules&fresh != 0 && !p.Fresh:
		return errReauthenticate
	}
	return nil
}

// identify finds out who asks: by a token, by a cookie, or by what a trusted
// proxy says, and all that is shown must name one person.
func (s *Server) identify(ctx context.Context, c *call) (err error) {
	vouched := c.person.User.ID
	text, err := bearer(c.request)
	if errors.Is(err, errNoToken) && s.Cookie != "" {
		cookie, e := c.request.Cookie(s.Cookie)
		if e == nil && cookie.Value != "" {
			text, err = cookie.Value, nil
		}
	}
	switch {
	case errors.Is(err, errNoToken) && vouched != "":
		return nil
	case errors.Is(err, errNoToken) && s.Open && ofThisMachine(c.request):
		c.person = authn.Person{User: registry.User{Username: "everybody", Role: registry.Owner, Status: registry.Enabled}, Fresh: true}
		return nil
	case err != nil:
		return err
	}
	if c.person, err = s.Users.VerifyFrom(ctx, text, c.where()); err != nil {
		return err
	}
	if vouched != "" && vouched != c.person.User.ID {
		return &authn.RefusedError{Reason: registry.ReasonConflictingEvidence, User: c.person.User.ID}
	}
	return nil
}

// ofThisMachine reports whether a request came over loopback to a name of this
// machine: a page of another site, whose name may lead here, does not.
func ofThisMachine(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// bearer returns the token of the Authorization header or of OAUTH-TOKEN, as
// the seed's clients send it, with or without "Bearer". All that is there must
// be the same token.
func bearer(r *http.Request) (string, error) {
	var token string
	for _, header := range []string{"Authorization", "Oauth-Token"} {
		for _, value := range r.Header[header] {
			scheme, text, two := strings.Cut(value, " ")
			switch {
			case two && strings.EqualFold(scheme, "Bearer"):
			case !two && header == "Oauth-Token":
				text = value
			default:
				text = ""
			}
			if text == "" {
				continue
			}
			if token != "" && token != text {
				return "", errEvidence
			}
			token = text
		}
	}
	if token == "" {
		return "", errNoToken
	}
	return token, nil
}

// enter finds the domain of the path and the caller's role in it. A domain that
// does not exist is refused like one that the caller has no part in, unless the
// caller may do this in all of them.
func (s *Server) enter(ctx context.Context, need authz.Action, c *call) error {
	ref := c.request.PathValue("domain")
	if id, err := registry.ParseID(ref); err == nil {
		ref = id
	}
	err := registry.CheckRoute(ref)
	var d registry.Domain
	if err != nil {
		err = registry.ErrNotFound // no domain can be called that
	} else {
		d, err = s.Registry.DomainByRef(ctx, ref)
	}
	if errors.Is(err, registry.ErrNotFound) && !need.AllowedTo(c.person.User.Role) {
		return &authz.DeniedError{Reason: registry.ReasonRole}
	}
	if err != nil {
		return err
	}
	c.domain = d.ID
	if err := s.People.Allow(ctx, c.person.User, need, d.ID); err != nil {
		return err
	}
	c.role, err = s.People.Role(ctx, c.person.User, d.ID)
	return err
}

func (c *call) by() registry.UserID { return c.person.User.ID }

// pathID returns an id of the path; "", which nothing has, when it is none.
func (c *call) pathID(name string) string {
	id, err := registry.ParseID(c.request.PathValue(name))
	if err != nil {
		return ""
	}
	return id
}

func (c *call) client() registry.DeviceID   { return registry.DeviceID(c.pathID("client")) }
func (c *call) channel() registry.ChannelID { return registry.ChannelID(c.pathID("channel")) }

// body reads the JSON body into v, which is to be a pointer. Unknown fields are
// ignored, numbers in metadata are kept as they are written.
func (c *call) body(v any) error {
	media, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return errMediaType
	}
	d := json.NewDecoder(c.request.Body)
	d.UseNumber()
	err = d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
		if err == nil {
			return fmt.Errorf("%w: more than one value", errMalformed)
		}
	}
	if errors.As(err, new(*http.MaxBytesError)) {
		return err
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) { // its text holds the value, which may be a secret
		return fmt.Errorf("%w: field %q", errMalformed, wrong.Field)
	}
	return fmt.Errorf("%w: %w", errMalformed, err)
}

// optionalBody is body for a call that may come without one.
func (c *call) optionalBody(v any) error {
	if c.request.ContentLength == 0 {
		return nil
	}
	return c.body(v)
}

// number returns a query value, or the given one when it is absent.
func (c *call) number(key string, otherwise int) (int, error) {
	text := c.request.URL.Query().Get(key)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, &registry.InvalidError{Field: key, Reason: "must be a whole number"}
	}
	return n, nil
}

// page reads what every list can be asked for.
func (c *call) page() (q registry.Query, err error) {
	if q.Offset, err = c.number("offset", 0); err != nil {
		return q, err
	}
	if q.Limit, err = c.number("limit", 10); err != nil {
		return q, err
	}
	q.Order, q.Descending = registry.ByCreated, true
	return q, nil
}

// query reads a page with its filters.
func (c *call) query() (registry.Query, error) {
	q, err := c.page()
	if err != nil {
		return q, err
	}
	v := c.request.URL.Query()
	q.Domain = c.domain
	q.ID, q.Name, q.Tag = v.Get("id"), v.Get("name"), v.Get("tag")
	switch order := v.Get("order"); order {
	case "":
	case "username":
		q.Order = registry.ByName
	default:
		q.Order = registry.Order(order)
	}
	switch v.Get("dir") {
	case "", "desc":
	case "asc":
		q.Descending = false
	default:
		return q, &registry.InvalidError{Field: "dir", Reason: "must be asc or desc"}
	}
	switch status := registry.Status(v.Get("status")); status {
	case "":
		q.Status = registry.Enabled
	case "all":
	case registry.Enabled, registry.Disabled, registry.Frozen, registry.Deleted, registry.Pending:
		q.Status = status
	default:
		return q, &registry.InvalidError{Field: "status", Reason: "must be enabled, disabled, frozen, deleted, pending or all"}
	}
	if text := v.Get("metadata"); text != "" {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&q.Metadata); err != nil {
			return q, &registry.InvalidError{Field: "metadata", Reason: "must be a JSON object"}
		}
	}
	if text := v.Get("client"); text != "" {
		id, err := registry.ParseID(text)
		if err != nil {
			return q, &registry.InvalidError{Field: "client", Reason: "must be an id"}
		}
		q.Device = registry.DeviceID(id)
	}
	if text := v.Get("channel"); text != "" {
		id, err := registry.ParseID(text)
		if err != nil {
			return q, &registry.InvalidError{Field: "channel", Reason: "must be an id"}
		}
		q.Channel = registry.ChannelID(id)
	}
	if text := v.Get("connection_type"); text != "" {
		if q.Rights, err = rightsOf([]string{text}); err != nil {
			return q, &registry.InvalidError{Field: "connection_type", Reason: "must be publish or subscribe"}
		}
	}
	return q, nil
}

// rightsOf reads connection types in any case.
func rightsOf(types []string) (registry.Rights, error) {
	var rights registry.Rights
	for _, t := range types {
		switch strings.ToLower(t) {
		case "publish":
			rights |= registry.Publish
		case "subscribe":
			rights |= registry.Subscribe
		default:
			return 0, &registry.InvalidError{Field: "types", Reason: "must be publish or subscribe"}
		}
	}
	return rights, nil
}
