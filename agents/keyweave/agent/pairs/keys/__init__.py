"""Keys of entangled pairs (BBM92): from outcomes at both ends to blocks of key that only those two have."""
