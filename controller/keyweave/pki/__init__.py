"""Certificates of a network: who may be what, one-time enrolment, renewal, revocation.

The authority's side (`authorities`, `register`, `tokens`, `service`) runs apart from the controller, which
never has a trust anchor's key: whoever takes the controller over cannot make agents of their own. The
holder's side (`holder`, `enrolling`) makes keys where they are used; only requests to certify them leave.
"""
