"""Every way in."""

from tests.fuzz import controller, faces, key_plane, pki, uplink

TARGETS = (*key_plane.TARGETS, *uplink.TARGETS, *controller.TARGETS, *faces.TARGETS, *pki.TARGETS)
