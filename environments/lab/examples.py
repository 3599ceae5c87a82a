"""What is in the instances and their warehouses.

Two kinds of warehouse. SQLite: one file with the data of Superset's examples, 89 MB, copied for prod. PostgreSQL:
databases `dev` and `prod` on one server, each with the schemas `sales` and `hr`, for what SQLite cannot show: on
an engine with catalogs a dataset that names the catalog `dev` reads dev's rows even through prod's connection.
"""

from __future__ import annotations

from environments.lab.errors import LabError
from environments.lab.postgres import Address, Cluster

EXAMPLES_UUID = "a2dc77af-e654-49bb-b321-40f6b559a1ee"  # superset/constants.py, EXAMPLES_DB_UUID
PROD_NAME = "Warehouse PROD"
PROD_UUID = "11111111-aaaa-4bbb-8ccc-000000000001"
PLACEHOLDER_URI = (
    "sqlite:////lab/warehouse.db"  # in the templates; every instance gets the path of its own file
)

# PostgreSQL warehouses: database -> how many orders it has, so that a result tells whose rows it is.
ORDERS = {"dev": 500, "prod": 10}
ANALYST = "analyst"

_WAREHOUSE_SQL = """
create schema sales;
create schema hr;
create table sales.orders (
    id integer primary key, ordered_at timestamp not null, region text not null, product text not null,
    quantity integer not null, price numeric(10, 2) not null, customer_id integer not null
);
insert into sales.orders
select n, timestamp '2024-01-01' + n * interval '17 hours',
    (array['North', 'South', 'East', 'West'])[1 + n % 4], (array['Tea', 'Coffee', 'Cocoa'])[1 + n % 3],
    1 + n % 7, 2.5 + (n % 11), 1 + n % 20
from generate_series(1, {orders}) as n;
create table sales.customers (id integer primary key, name text not null, since date not null, region text);
insert into sales.customers
select n, 'Customer ' || n, date '2020-01-01' + n * 11, (array['North', 'South', 'East', null])[1 + n % 4]
from generate_series(1, 20) as n;
create view sales.revenue as
    select region, date_trunc('month', ordered_at) as month, sum(quantity * price) as revenue
    from sales.orders group by 1, 2;
create table hr.orders (id integer primary key, ordered_at date not null, employee text not null, item text not null);
insert into hr.orders
select n, date '2024-01-01' + n, 'Employee ' || (1 + n % 5), (array['Desk', 'Chair', 'Lamp'])[1 + n % 3]
from generate_series(1, {orders} / 5) as n;
create table hr.employees (id integer primary key, name text not null, salary integer not null, hired date not null);
insert into hr.employees
select n, 'Employee ' || n, 30000 + n * 1000, date '2019-01-01' + n * 31 from generate_series(1, 5) as n;
grant usage on schema sales, hr to {analyst};
grant select on all tables in schema sales, hr to {analyst};
analyze;
"""


def postgres_warehouses(cluster: Cluster, password: str, suffix: str = "") -> dict[str, Address]:
    """Makes the databases `dev` and `prod` (with the suffix) unless they are there; addresses by database name.

    Both are on one server, as it takes for the trap; the account can only read.
    """
    if suffix and not (suffix.isascii() and suffix.replace("_", "").isalnum()):
        raise LabError(f"{suffix!r} is no suffix for a database: letters, digits and _ only.")
    existing = cluster.databases()
    if cluster.sql(f"select 1 from pg_roles where rolname = '{ANALYST}'") == "":
        cluster.sql(f"create role {ANALYST} login")
    cluster.sql(f"alter role {ANALYST} password '{password}'")
    for name, orders in ORDERS.items():
        database = name + suffix
        if database not in existing:
            cluster.drop(f"{database}_unfinished")
            cluster.create(f"{database}_unfinished")
            sql = _WAREHOUSE_SQL.format(orders=orders, analyst=ANALYST)
            cluster.sql("begin;" + sql + "commit;", f"{database}_unfinished")
            cluster.rename(f"{database}_unfinished", database)
    at = cluster.address
    return {name + suffix: Address(at.host, at.port, ANALYST, password) for name in ORDERS}
