"""Who a user is: identifiers, attributes and devices, kept by application."""
