"""What all tables of the store belong to; those of one subject may live beside what reads and writes them."""

import sqlalchemy as sa

metadata = sa.MetaData()
